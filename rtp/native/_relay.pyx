# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""The Python face of relay.c: records it shares with the machines, flows, tapes, the loop. No policy here.

`_relay.pyi` says what each is; `rtp.native` puts them to work.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport NAN, isnan
from libc.string cimport memcpy, memset

from rtp.jitter import DRY, LOST


cdef class SourceFields:
    cdef public int64_t ssrc, rate, gaps, highest, cycles, count, jitter16, transit
    cdef public int64_t _bad, _base, _expected_before, _expected_prior, _received_before, _received_prior


cdef class OutFields:
    cdef public int64_t ssrc, sequence, timestamp, rate, source, relaying, sequence_offset, timestamp_offset
    cdef public int64_t _offset_source, _floor, _ahead
    cdef double _at

    def __cinit__(self):
        self._at = NAN

    @property
    def at(self):
        return None if isnan(self._at) else self._at

    @at.setter
    def at(self, value):
        self._at = NAN if value is None else value


def _check_layout():
    # relay.c reads the fields of these objects in place; C keeps their order, and this says so if a compiler ever did not.
    cdef SourceFields source = SourceFields()
    cdef OutFields out = OutFields()
    cdef relay_source *s = <relay_source *>&source.ssrc
    cdef relay_out *o = <relay_out *>&out.ssrc
    if <char *>&source.transit != <char *>&s.transit or <char *>&source._received_prior != <char *>&s.received_prior:
        raise ImportError("layout of SourceFields")
    if <char *>&out._ahead != <char *>&o.ahead or <char *>&out._at != <char *>&o.at:
        raise ImportError("layout of OutFields")


_check_layout()


cdef class Tape:
    cdef relay_tape c
    cdef unsigned char *spare
    cdef size_t spare_room
    cdef unsigned char *blocks
    cdef size_t blocks_room
    cdef relay_head *heads
    cdef Py_ssize_t head_count
    cdef dict _numbers
    cdef list _ways, _notes

    def __cinit__(self, size_t limit):
        if relay_tape_open(&self.c, limit):
            raise MemoryError
        self.spare = NULL
        self.spare_room = 0
        self._numbers = {}
        self._ways = []
        self._notes = []
        self.blocks = NULL
        self.blocks_room = 0
        self.heads = NULL
        self.head_count = 0

    def __dealloc__(self):
        relay_tape_close(&self.c)
        free(self.spare)
        free(self.blocks)
        free(self.heads)

    @property
    def waiting(self):
        return self.c.packets

    cpdef uint32_t way(self, source, destination):
        number = self._numbers.get((source, destination))
        if number is None:
            number = self._numbers[(source, destination)] = len(self._ways)
            self._ways.append((source, destination))
        return number

    def __call__(self, int64_t at_ns, source, destination, bytes data):
        cdef uint32_t way = self.way(source, destination)
        cdef const unsigned char *start = data
        relay_tape_put(&self.c, at_ns, way, start, len(data))

    cdef size_t _take(self, left_out) except? 0:
        # The evidence thread: take what is there under the lock, read it without. What is full comes to `spare`; its bytes used.
        cdef unsigned char *full
        cdef size_t used, room
        cdef int64_t lost, first, last
        with nogil:
            pthread_mutex_lock(&self.c.lock)
            full, used, room = self.c.bytes, self.c.used, self.c.room
            self.c.bytes, self.c.used, self.c.room = self.spare, 0, self.spare_room
            lost, first, last = self.c.left_out, self.c.left_out_first, self.c.left_out_last
            self.c.left_out = self.c.packets = 0
            pthread_mutex_unlock(&self.c.lock)
        self.spare, self.spare_room = full, room
        if lost:
            left_out(lost, first, last)
        return used

    def pour(self, packet, left_out):
        cdef size_t used = self._take(left_out), at = 0
        cdef relay_record *record
        cdef list ways = self._ways
        while at < used:
            record = <relay_record *>(self.spare + at)
            source, destination = ways[record.way]
            packet(
                record.at_ns, source, destination,
                PyBytes_FromStringAndSize(<char *>self.spare + at + sizeof(relay_record), record.size),
            )
            at += sizeof(relay_record) + ((record.size + 7) & ~<size_t>7)

    cdef size_t _fill(self, head, left_out, int64_t *packets) except? 0:
        # All of it as blocks in `blocks`; their bytes.
        cdef size_t used, at = 0, size = 0
        cdef relay_record *record
        cdef unsigned char *out
        self._prepare(head)  # what can't be written stays on the tape
        used = self._take(left_out)
        self._prepare(head)  # the loop went on meanwhile
        packets[0] = 0
        with nogil:
            while at < used:
                record = <relay_record *>(self.spare + at)
                size += relay_block_size(&self.heads[record.way], record.size)
                packets[0] += 1
                at += sizeof(relay_record) + ((record.size + 7) & ~<size_t>7)
        if size > self.blocks_room:
            room = realloc(self.blocks, size)
            if room == NULL:
                raise MemoryError
            self.blocks, self.blocks_room = <unsigned char *>room, size
        with nogil:
            out, at = self.blocks, 0
            while at < used:
                record = <relay_record *>(self.spare + at)
                out += relay_block_put(
                    out, &self.heads[record.way], record.at_ns, self.spare + at + sizeof(relay_record), record.size
                )
                at += sizeof(relay_record) + ((record.size + 7) & ~<size_t>7)
        return size

    def encode(self, head, left_out):
        cdef int64_t packets
        cdef size_t size = self._fill(head, left_out, &packets)
        return PyBytes_FromStringAndSize(<char *>self.blocks, size), packets

    def append(self, int fd, int64_t end, head, left_out):
        cdef int64_t packets
        cdef size_t size, written = 0
        cdef int error
        with nogil:
            size = relay_file_size(fd) == end
        if not size:
            return None
        size = self._fill(head, left_out, &packets)
        with nogil:
            error = relay_write(fd, self.blocks, size, &written)
        if not error:
            return written, packets, None, 0
        return written, packets, PyBytes_FromStringAndSize(<char *>self.blocks, size), error

    cdef _prepare(self, head):
        # One head for each way there is by now: the ways of all records taken before are among them.
        cdef relay_head *one
        cdef const unsigned char[:] prefix
        cdef bytes note
        cdef Py_ssize_t count = len(self._ways), i
        if count <= self.head_count:
            return
        room = realloc(self.heads, count * sizeof(relay_head))
        if room == NULL:
            raise MemoryError
        self.heads = <relay_head *>room
        for i in range(self.head_count, count):
            prefix, ip_sum, udp_sum, note = head(*self._ways[i])
            if len(prefix) not in (56, 76):
                raise ValueError(f"{len(prefix)} bytes are no head")
            self._notes.append(note)
            one = &self.heads[i]
            memcpy(one.bytes, &prefix[0], len(prefix))
            one.size, one.ip_sum, one.udp_sum = len(prefix), ip_sum, udp_sum
            one.note_size, one.note = len(note), <const unsigned char *><char *>note
            self.head_count = i + 1


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

    def permit(self, double seconds_per_byte, double burst):
        self.c.seconds_per_byte = seconds_per_byte
        self.c.burst = burst

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
        for source, target, kind, rate in routes:
            if i == RELAY_ROUTES:
                break
            if kind == ROUTE_VOICE and voice is None:
                raise ValueError("a way into a mix without a voice")
            SET_ROUTE(&self.c, i, source, target, kind, rate)
            i += 1
        self._voice = voice
        self.c.voice = &voice.c if voice is not None else NULL
        self._destination = destination
        self.c.destination = &destination.c if destination is not None else NULL
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


cdef bint _take_plain(voice, unsigned char[:, ::1] codes, unsigned char[::1] names, Py_ssize_t row) except -1:
    cdef object buffer = voice.buffer
    names[row] = 0
    if voice.plain and isinstance(buffer, NativeJitterBuffer):
        names[row] = relay_jitter_take(
            &(<NativeJitterBuffer>buffer).c, &codes[row, 0], codes.shape[1], name_number("PCMA"), name_number("PCMU")
        )
    if not names[row]:
        return False
    voice.resume()
    return True


def take_codes(list voices, unsigned char[:, ::1] codes, unsigned char[::1] names):
    # rtp.voices.Voice.take of all voices at once, as far as it is only that; the rows that are left.
    cdef Py_ssize_t row
    left = []
    for row in range(len(voices)):
        try:
            if _take_plain(voices[row], codes, names, row):
                continue
        except Exception:  # told and counted when Python takes it by itself: one voice's failure must not end the others
            names[row] = 0
        left.append(row)
    return left


cdef bint _sends_nothing(ear) except -1:
    # As `wants`.
    return ear.begun and (ear.sender.codec is None or not ear.sender.relay_open)


cdef bint _send_steadily(ear, dict coded, Py_ssize_t row, double now) except -1:
    cdef const unsigned char[:, ::1] codes
    cdef Flow flow
    sender = ear.sender
    codec = sender.codec
    if not ear.begun or codec is not ear.codec or sender.expecting is not None or codec.name not in coded:
        return False
    flow = sender._flow
    codes = coded[codec.name]
    return flow.c.out != NULL and relay_steady(
        &flow.c, ear.number, codec.payload_type, codec.clock_rate, ear.step, &codes[row, 0], codes.shape[1], now
    )


def send_codes(list ears, dict coded, double now):
    # rtp.voices.Ear.wants and Ear.send of all ears at once, as far as C can; (how many were sent, the rows that are left).
    cdef Py_ssize_t row
    cdef int sent = 0
    left = []
    for row in range(len(ears)):
        try:
            if _sends_nothing(ears[row]):
                continue
            if _send_steadily(ears[row], coded, row, now):
                sent += 1
                continue
        except Exception:  # as above
            pass
        left.append(row)
    return sent, left


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
