# Jitter buffers of voices, and the numbers C knows codecs by.

cdef list _names = [""]
cdef dict _numbers = {"": 0}


def name_number(str name):
    if name not in _numbers:
        if len(_names) > 255:
            raise ValueError("more names than codecs")
        _numbers[name] = len(_names)
        _names.append(name)
    return _numbers[name]


cdef _entry(const relay_sound *sound):
    return _names[sound.name], PyBytes_FromStringAndSize(<char *>sound.data, sound.size)


cdef class NativeJitterBuffer:
    cdef relay_jitter c

    def __cinit__(self):
        relay_jitter_open(&self.c)

    def __dealloc__(self):
        relay_jitter_close(&self.c)

    @property
    def begun(self):
        return bool(self.c.begun)

    @property
    def hurry(self):
        return bool(self.c.hurry)

    @property
    def span(self):
        return self.c.span

    @span.setter
    def span(self, int ms):
        if ms < 1:
            raise ValueError("a packet without sound")
        if ms != self.c.span:
            relay_jitter_span(&self.c, ms)

    @property
    def late(self):
        return self.c.late

    @property
    def lost(self):
        return self.c.lost

    @property
    def overflown(self):
        return self.c.overflown

    @property
    def held(self):
        cdef int i
        return {self.c.held[i].sequence: _entry(&self.c.held[i]) for i in range(self.c.count)}

    def push(self, uint16_t sequence, entry):
        cdef const unsigned char[:] payload
        name, data = entry
        payload = data
        cdef const unsigned char *start = &payload[0] if len(data) else NULL
        if not relay_jitter_push(&self.c, sequence, name_number(name), start, len(data)):
            raise MemoryError

    def pull(self):
        cdef int why
        cdef const relay_sound *sound = relay_jitter_pull(&self.c, &why)
        if sound == NULL:
            return LOST if why == JITTER_LOST else DRY
        return _entry(sound)

    def following(self):
        cdef const relay_sound *sound = relay_jitter_following(&self.c)
        return None if sound == NULL else _entry(sound)

    def merged(self):
        self.c.hurry = 0
        self.c.rushed = 1

    def snapshot(self):
        return {
            "held": sorted(self.held),
            "next": self.c.next,
            "patience": self.c.patience,
            "late": self.c.late,
            "lost": self.c.lost,
            "overflown": self.c.overflown,
        }
