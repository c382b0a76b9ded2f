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
    cdef public bint busy
    cdef OutFields _out
    cdef relay_reel reel
    cdef Film _film
    cdef Flow _flow

    def __cinit__(self):
        self.busy = False
        self._out = None
        memset(&self.reel, 0, sizeof(self.reel))

    @property
    def out(self):
        return self._out

    @out.setter
    def out(self, OutFields value):
        self._out = value

    def roll(self, sender, int64_t source, codec, int64_t step, tuple frames, int start, *, bint endless):
        cdef Flow flow = sender._flow
        if not flow.c.direct or flow.c.out == NULL or not frames or step <= 0 or start < 0:
            return
        self._flow, self._film = flow, _film(frames, endless)
        self.reel.flow, self.reel.film = &flow.c, &self._film.c
        self.reel.next, self.reel.endless, self.reel.sent = start, endless, 0
        self.reel.source, self.reel.rate, self.reel.step = source, codec.clock_rate, step
        self.reel.payload_type, self.reel.stand = codec.payload_type, flow.c.stand

    def unroll(self):
        self.reel.flow = NULL
        sent, self.reel.sent = self.reel.sent, 0
        return sent


cdef class NativePhase:
    cdef dict _legs
    cdef list _order
    cdef void **_activities
    cdef relay_reel **_reels
    cdef unsigned char *_played
    cdef double _fill

    def __cinit__(self, double fill):
        self._legs = {}
        self._order = []
        self._activities = NULL
        self._reels = NULL
        self._played = NULL
        self._fill = fill

    def __dealloc__(self):
        free(self._activities)
        free(self._reels)
        free(self._played)

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
        cdef Py_ssize_t count = len(self._legs) + 1
        activities = realloc(self._activities, count * sizeof(void *))
        if activities == NULL:
            raise MemoryError
        self._activities = <void **>activities
        reels = realloc(self._reels, count * sizeof(void *))
        if reels == NULL:
            raise MemoryError
        self._reels = <relay_reel **>reels
        played = realloc(self._played, count)
        if played == NULL:
            raise MemoryError
        self._played = <unsigned char *>played
        self._order = [(leg, <ActivityFields?>leg.activity) for leg in self._legs.values()]
        for i in range(len(self._order)):
            activity = <ActivityFields>self._order[i][1]
            self._activities[i] = <void *>activity
            self._reels[i] = &(<ActivityFields>activity).reel

    def restless(self, double now):
        cdef ActivityFields activity
        cdef OutFields out
        cdef Py_ssize_t i, count = len(self._order)
        found = []
        with nogil:
            for i in range(count):
                self._played[i] = relay_play(self._reels[i], now)
        for i in range(count):
            if self._played[i]:
                continue
            activity = <ActivityFields>self._activities[i]
            out = activity._out
            # Written so that a stream that never sent anything (NaN) is restless.
            if out is not None and not (out.relaying and not activity.busy and now - out._at <= self._fill):
                found.append(self._order[i][0])
        return found
