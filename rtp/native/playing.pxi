# What legs are played beat by beat, and which of them need a beat of Python's.

cdef class Film:
    cdef relay_film c
    cdef tuple _frames

    def __cinit__(self, tuple frames):
        self._frames = frames
        self.c.frames = <const unsigned char **>realloc(NULL, (len(frames) + 1) * sizeof(void *))
        self.c.sizes = <uint32_t *>realloc(NULL, (len(frames) + 1) * sizeof(uint32_t))
        if self.c.frames == NULL or self.c.sizes == NULL:
            raise MemoryError
        for i, frame in enumerate(frames):
            self.c.frames[i] = <const unsigned char *>PyBytes_AS_STRING(<bytes?>frame)
            self.c.sizes[i] = len(frame)
        self.c.count = len(frames)

    def __dealloc__(self):
        free(self.c.frames)
        free(self.c.sizes)


# By the identity of their frames, which they keep: a prompt is one tuple for all who hear it; silence by what it is.
cdef dict _films = {}
cdef int MOST_FILMS = 4096


cdef Film _film(tuple frames, bint endless):
    key = frames[0] if endless else id(frames)
    film = _films.get(key)
    if film is None:
        if len(_films) >= MOST_FILMS:
            _films.clear()  # who plays one still holds it
        film = _films[key] = Film(frames)
    return film


cdef class ActivityFields:
    cdef OutFields _out
    cdef relay_leg c
    cdef Film _film
    cdef Flow _flow
    cdef tuple _flows

    def __cinit__(self):
        memset(&self.c, 0, sizeof(self.c))
        self._out = None
        self._flows = ()

    @property
    def busy(self):
        return bool(self.c.busy)

    @busy.setter
    def busy(self, bint value):
        self.c.busy = value

    @property
    def rtcp_due(self):
        return self.c.rtcp_due

    @rtcp_due.setter
    def rtcp_due(self, double value):
        self.c.rtcp_due = value

    @property
    def report_due(self):
        return self.c.report_due

    @report_due.setter
    def report_due(self, double value):
        self.c.report_due = value

    @property
    def out(self):
        return self._out

    @out.setter
    def out(self, OutFields value):
        self._out = value
        self.c.out = <relay_out *>&value.ssrc if value is not None else NULL

    def watch(self, track):
        cdef Flow flow = track._flow
        if self.c.flow_count == RELAY_MEDIA:
            raise ValueError("a leg of more media than there are")
        self._flows += (flow,)
        self.c.flows[self.c.flow_count] = &flow.c
        self.c.flow_count += 1

    def roll(self, sender, int64_t source, codec, int64_t step, tuple frames, int start, *, bint endless):
        cdef Flow flow = sender._flow
        if not flow.c.direct or flow.c.out == NULL or not frames or step <= 0 or start < 0:
            return
        self._flow, self._film = flow, _film(frames, endless)
        self.c.reel.flow, self.c.reel.film = &flow.c, &self._film.c
        self.c.reel.next, self.c.reel.endless, self.c.reel.sent = start, endless, 0
        self.c.reel.source, self.c.reel.rate, self.c.reel.step = source, codec.clock_rate, step
        self.c.reel.payload_type, self.c.reel.stand = codec.payload_type, flow.c.stand

    def unroll(self):
        self.c.reel.flow = NULL
        sent, self.c.reel.sent = self.c.reel.sent, 0
        return sent


cdef class NativePhase:
    cdef relay_phase c
    cdef dict _legs
    cdef list _order

    def __cinit__(self, double fill):
        memset(&self.c, 0, sizeof(self.c))
        self.c.fill = fill
        self._legs = {}
        self._order = []

    def __dealloc__(self):
        relay_phase_close(&self.c)

    def __len__(self):
        return len(self._legs)

    def put(self, leg):
        self._legs[leg.leg] = leg
        self._arrange()

    def drop(self, leg):
        if self._legs.pop(leg.leg, None) is not None:
            self._arrange()

    cdef _arrange(self):
        # Room first: what is there stays as it is if there is no memory for more.
        if relay_phase_room(&self.c, len(self._legs)):
            raise MemoryError
        self._order = [(leg, <ActivityFields?>leg.activity) for leg in self._legs.values()]
        for i in range(len(self._order)):
            self.c.legs[i] = &(<ActivityFields>self._order[i][1]).c
        self.c.count = len(self._order)
        self.c.found_count = 0

    cdef list _found(self):
        cdef int i
        return [self._order[self.c.found[i]][0] for i in range(self.c.found_count)]

    def restless(self, double now):
        with nogil:
            relay_restless(&self.c, now)
        return self._found()

    def stirred(self, double now, double quiet):
        with nogil:
            relay_stirred(&self.c, now, quiet)
        return self._found()
