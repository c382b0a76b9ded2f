# The loop, and which legs a sweep is to look at.

def stirred(legs, double now, double quiet):
    cdef Flow flow
    found = []
    for leg in legs:
        if now >= leg.rtcp_due or now >= leg.report_due:
            found.append(leg)
            continue
        for track in leg.tracks.values():
            flow = track._flow
            if (
                flow.c.lent
                and now - flow.c.heard <= quiet
                and flow.c.flooded == track.flood_stated
                and (
                    track.medium == "audio"
                    or flow.c.source.gaps == track._gaps and not track.pictures.wanted
                )
            ):
                continue
            found.append(leg)
            break
    return found


cdef class RelayLoop:
    cdef relay_loop c
    cdef dict _flows

    def __cinit__(self, int poll, int later):
        self._flows = {}
        error = relay_loop_open(&self.c, poll, later)
        if error:
            raise OSError(error, "relay loop")

    def __dealloc__(self):
        relay_loop_close(&self.c)

    @property
    def now(self):
        return self.c.now

    @property
    def flows(self):
        return tuple(self._flows.values())

    @property
    def counts(self):
        return self.c.relayed, self.c.sunk, self.c.voiced, self.c.handed

    def find(self, int fd):
        return self._flows.get(fd)

    def collect(self, double now):
        cdef int count
        with nogil:
            count = relay_collect(&self.c, now)
        if count < 0:
            raise OSError(-count, "epoll_wait")
        return count, [self.c.ready[i] for i in range(self.c.ready_count)], self._odd()

    def add(self, Flow flow not None):
        error = relay_loop_put(&self.c, flow.c.fd, &flow.c)
        if error:
            raise OSError(error, "relay loop")
        self._flows[flow.c.fd] = flow

    def lend(self, Flow flow not None, bint lent):
        flow.c.lent = lent

    def remove(self, Flow flow not None):
        if self._flows.pop(flow.c.fd, None) is not None:
            relay_loop_put(&self.c, flow.c.fd, NULL)

    def be_prompt(self):
        relay_be_prompt()

    def turn(self, double deadline):
        cdef int error, i
        with nogil:
            error = relay_turn(&self.c, deadline)
        if error:
            raise OSError(error, "epoll_wait")
        return [self.c.ready[i] for i in range(self.c.ready_count)], self._odd()

    def serve(self, Flow flow not None, double now):
        with nogil:
            relay_serve(&self.c, &flow.c, now)
        return self._odd()

    cdef list _odd(self):
        cdef int i
        odd = []
        for i in range(self.c.odd_count):
            flow = self._flows[self.c.odd[i].flow.fd]
            start = <char *>self.c.odd_bytes + self.c.odd[i].offset
            odd.append((flow, PyBytes_FromStringAndSize(start, self.c.odd[i].size)))
        return odd
