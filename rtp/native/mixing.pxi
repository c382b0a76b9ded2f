# All voices and ears of a mix at once: rtp.voices.Voice.take and Ear.send, as far as they are only that.

cdef struct ear_plan:  # what an ear is sent as long as nothing is decided about its flow
    relay_flow *flow  # NULL: to be looked at
    int64_t source, rate, step
    int payload_type
    uint32_t stand
    const unsigned char *codes


cdef class NativeMix:
    cdef list _voices, _ears, _held, _flows
    cdef relay_jitter **_jitters  # of each voice, NULL for one that is Python's
    cdef unsigned char *_clear  # whether nothing but packets is in its way
    cdef ear_plan *_plans
    cdef relay_law _laws[2]
    cdef dict _linear, _codes

    def __cinit__(self, dict linear, dict codes):
        cdef const int16_t[::1] table
        self._voices, self._ears, self._held, self._flows = [], [], [], []
        self._linear, self._codes = linear, codes
        self._jitters, self._clear, self._plans = NULL, NULL, NULL
        for i, name in enumerate(("PCMA", "PCMU")):
            table = linear[name]
            if table.shape[0] != 256:
                raise ValueError("a table of G.711 has 256 samples")
            self._laws[i].name, self._laws[i].linear = name_number(name), &table[0]
            if len(codes[name]) != 65536:
                raise ValueError("a table to G.711 has 65,536 codes")

    def __dealloc__(self):
        free(self._jitters)
        free(self._clear)
        free(self._plans)

    def arrange(self, voices, ears):
        cdef Py_ssize_t i
        self._voices, self._ears, self._held, self._flows = [], [], [], []  # should there be no memory
        voices, ears = list(voices), list(ears)
        jitters = realloc(self._jitters, (len(voices) + 1) * sizeof(void *))
        if jitters == NULL:
            raise MemoryError
        self._jitters = <relay_jitter **>jitters
        clear = realloc(self._clear, len(voices) + 1)
        if clear == NULL:
            raise MemoryError
        self._clear = <unsigned char *>clear
        plans = realloc(self._plans, (len(ears) + 1) * sizeof(ear_plan))
        if plans == NULL:
            raise MemoryError
        self._plans = <ear_plan *>plans
        held = []
        for i, voice in enumerate(voices):
            self._jitters[i], self._clear[i] = NULL, 0
            try:
                buffer = voice.buffer
            except Exception:  # told and counted when Python serves it by itself: one voice's failure must not end the others
                continue
            held.append(buffer)
            if isinstance(buffer, NativeJitterBuffer):
                self._jitters[i] = &(<NativeJitterBuffer>buffer).c
        for i in range(len(ears)):
            self._plans[i].flow = NULL
        self._voices, self._ears, self._held, self._flows = voices, ears, held, [None] * len(ears)

    def take(self, int16_t[:, ::1] frames):
        cdef Py_ssize_t row
        cdef list left = []
        if frames.shape[0] < len(self._voices):
            raise ValueError("fewer rows than voices")
        for row in range(len(self._voices)):
            if self._jitters[row] != NULL:
                if self._clear[row]:
                    if relay_jitter_take(self._jitters[row], &frames[row, 0], frames.shape[1], self._laws):
                        continue
                    self._clear[row] = 0  # it is Python's now, which may keep some of it, or hear a pause
                elif self._begins_plain(row, frames):
                    continue
            left.append(row)
        return left

    cdef bint _begins_plain(self, Py_ssize_t row, int16_t[:, ::1] frames):
        try:
            voice = self._voices[row]
            if voice.plain and relay_jitter_take(self._jitters[row], &frames[row, 0], frames.shape[1], self._laws):
                self._clear[row] = 1
                voice.resume()
                return True
        except Exception:  # as above
            self._clear[row] = 0
        return False

    def send(self, const int16_t[:, ::1] mixed, double now):
        cdef Py_ssize_t row
        cdef ear_plan *plan
        cdef int sent = 0
        cdef list left = []
        if mixed.shape[0] < len(self._ears):
            raise ValueError("fewer rows than ears")
        for row in range(len(self._ears)):
            plan = &self._plans[row]
            if plan.flow == NULL or plan.flow.stand != plan.stand:
                plan.flow = NULL
                try:
                    if self._sends_nothing(row):
                        continue
                    self._look(row)
                except Exception:  # as above
                    plan.flow = NULL
            if plan.flow != NULL:
                if relay_steady_samples(
                    plan.flow, plan.source, plan.payload_type, plan.rate, plan.step, &mixed[row, 0], mixed.shape[1],
                    plan.codes, now,
                ):
                    sent += 1
                    continue
                plan.flow = NULL
            left.append(row)
        return sent, left

    cdef bint _sends_nothing(self, Py_ssize_t row) except -1:
        # As `wants`.
        ear = self._ears[row]
        return ear.begun and (ear.sender.codec is None or not ear.sender.relay_open)

    cdef int _look(self, Py_ssize_t row) except -1:
        # Whoever decides otherwise about any of this publishes it, so that the flow has another stand then.
        cdef ear_plan *plan = &self._plans[row]
        cdef Flow flow
        cdef const unsigned char[::1] codes
        ear = self._ears[row]
        sender = ear.sender
        codec = sender.codec
        if (
            not ear.begun or codec is not ear.codec or sender.expecting is not None or codec.name not in self._codes
            or sender.odd
        ):
            return 0
        flow = self._flows[row] = sender._flow
        if flow.c.out == NULL:
            return 0
        codes = self._codes[codec.name]
        plan.source, plan.rate, plan.step = ear.number, codec.clock_rate, ear.step
        plan.payload_type, plan.codes, plan.stand = codec.payload_type, &codes[0], flow.c.stand
        plan.flow = &flow.c
        return 0
