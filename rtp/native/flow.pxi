# One RTP socket: what is decided about it, and its counters.

cdef class Flow:
    cdef relay_flow c
    cdef NativeJitterBuffer _voice
    cdef object _source, _out, _owner, _in_tapes, _out_tape
    cdef Flow _destination

    def __cinit__(self, int fd):
        memset(&self.c, 0, sizeof(self.c))
        self.c.fd = fd
        self.c.heard = float("-inf")

    def attach(self, SourceFields source not None, OutFields out not None, owner):
        self._source, self._out, self._owner = source, out, owner
        self.c.source = <relay_source *>&source.ssrc
        self.c.out = <relay_out *>&out.ssrc

    @property
    def owner(self):
        return self._owner

    def detach(self):
        self.c.direct = self.c.straight = 0
        self._owner = None

    @property
    def number(self):
        return self.c.number

    @number.setter
    def number(self, int64_t value):
        self.c.number = value

    @property
    def heard(self):
        return self.c.heard

    @heard.setter
    def heard(self, double value):
        self.c.heard = value

    @property
    def permitted_until(self):
        return self.c.permitted_until

    @permitted_until.setter
    def permitted_until(self, double value):
        self.c.permitted_until = value

    @property
    def flooded(self):
        return self.c.flooded

    @flooded.setter
    def flooded(self, int64_t value):
        self.c.flooded = value

    @property
    def flood_stated(self):
        return self.c.flood_stated

    @flood_stated.setter
    def flood_stated(self, int64_t value):
        self.c.flood_stated = value

    @property
    def gaps_seen(self):
        return self.c.gaps_seen

    @gaps_seen.setter
    def gaps_seen(self, int64_t value):
        self.c.gaps_seen = value

    def picture(self, bint asking):
        self.c.picture = 1
        self.c.asking = asking

    @property
    def taken(self):
        return self.c.taken

    @taken.setter
    def taken(self, int64_t value):
        self.c.taken = value

    @property
    def packets(self):
        return self.c.packets

    @packets.setter
    def packets(self, int64_t value):
        self.c.packets = value

    @property
    def octets(self):
        return self.c.octets

    @octets.setter
    def octets(self, int64_t value):
        self.c.octets = value

    @property
    def failed(self):
        return self.c.failed

    @failed.setter
    def failed(self, int64_t value):
        self.c.failed = value

    def permit(self, double seconds_per_byte):
        self.c.seconds_per_byte = seconds_per_byte

    @property
    def fd(self):
        return self.c.fd

    @property
    def lent(self):
        return bool(self.c.lent)

    @property
    def deferred(self):
        return bool(self.c.deferred)

    @deferred.setter
    def deferred(self, bint value):
        if self.c.lent:
            raise ValueError("watched elsewhere")
        self.c.deferred = value

    def steady(self, int64_t source, int payload_type, int64_t rate, int64_t step, bytes payload, double now):
        if self.c.out == NULL:
            return False
        return bool(relay_steady(&self.c, source, payload_type, rate, step, payload, len(payload), now))

    def unsettle(self):
        self.c.stand += 1

    def send_straight(self, bint direct, bint straight, tape, uint32_t way):
        self._out_tape = tape
        self.c.stand += 1
        self.c.direct = direct and self._owner is not None
        self.c.straight = straight and self.c.direct
        self.c.out_tape = &(<Tape>tape).c if tape is not None else NULL
        self.c.out_way = way

    def receive(self, Flow destination, routes, tapes, NativeJitterBuffer voice):
        cdef int i = 0
        self.c.route_count = 0
        for source, target, kind, rate, longest in routes:
            if i == RELAY_ROUTES:
                break
            if kind == ROUTE_VOICE and voice is None:
                raise ValueError("a way into a mix without a voice")
            SET_ROUTE(&self.c, i, source, target, kind, rate, longest)
            i += 1
        self._voice = voice
        self.c.voice = &voice.c if voice is not None else NULL
        self._destination = destination
        self.c.destination = &destination.c if destination is not None else NULL
        if len(tapes) > RELAY_TAPES:
            raise ValueError("more captures than a packet can belong to")
        self._in_tapes = tuple(tapes)
        self.c.tape_count = 0
        for i, (tape, way) in enumerate(self._in_tapes):
            self.c.tapes[i] = &(<Tape?>tape).c
            self.c.ways[i] = way
            self.c.tape_count = i + 1
        self.c.route_count = min(len(routes), RELAY_ROUTES)

    def take_unheard(self):
        if not self.c.unheard_size:
            return None
        data = PyBytes_FromStringAndSize(<char *>self.c.unheard, self.c.unheard_size)
        self.c.unheard_size = 0
        return data
