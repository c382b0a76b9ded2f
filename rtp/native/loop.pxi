# The loop.

cdef class RelayLoop:
    cdef relay_loop c
    cdef dict _flows
    cdef tuple _phases

    def __cinit__(self, int poll, int later):
        self._flows = {}
        self._phases = ()
        error = relay_loop_open(&self.c, poll, later)
        if error:
            raise OSError(error, "relay loop")

    def __dealloc__(self):
        relay_loop_close(&self.c)

    @property
    def now(self):
        return self.c.now

    @property
    def looks(self):
        return self.c.looked, self.c.vacant

    @property
    def flows(self):
        return tuple(self._flows.values())

    @property
    def counts(self):
        return self.c.relayed, self.c.sunk, self.c.voiced, self.c.handed

    def find(self, int fd):
        return self._flows.get(fd)

    def collect(self, double now, double looked, double vacant):
        cdef int count
        with nogil:
            count = relay_collect(&self.c, now, looked, vacant)
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

    def keep_beats(self, tuple phases, double started, double step):
        cdef NativePhase phase
        if len(phases) != RELAY_PHASES or not step > 0:
            raise ValueError("beats of another kind")
        for i, phase in enumerate(phases):
            self.c.beats.phases[i] = &phase.c
        self._phases = phases
        self.c.beats.started, self.c.beats.step, self.c.beats.number, self.c.beats.restless = started, step, 0, NULL

    def restless(self, double now):
        cdef NativePhase phase
        if not relay_beat(&self.c.beats, now):
            return None
        found, self.c.beats.restless = self.c.beats.restless, NULL
        for phase in self._phases:
            if &phase.c == found:
                return phase._found(), self.c.beats.late

    def be_prompt(self):
        relay_be_prompt()

    def turn(self, double deadline):
        cdef int error, i
        with nogil:
            error = relay_turn(&self.c, deadline)
        if error:
            raise OSError(error, "epoll_wait")
        return [self.c.ready[i] for i in range(self.c.ready_count)], self._odd()

    def serve(self, Flow flow not None, double now, double looked, double vacant):
        with nogil:
            relay_serve(&self.c, &flow.c, now, looked, vacant)
        return self._odd()

    cdef list _odd(self):
        cdef int i
        odd = []
        for i in range(self.c.odd_count):
            flow = self._flows[self.c.odd[i].flow.fd]
            start = <char *>self.c.odd_bytes + self.c.odd[i].offset
            odd.append((flow, PyBytes_FromStringAndSize(start, self.c.odd[i].size)))
        return odd
