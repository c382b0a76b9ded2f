# Tapes: packets of one call on their way to its file, as they will stand in it.

# Where a block's parts are (rtp/native/block.c): its IP packet, and in that addresses, ports and payload.
cdef enum:
    BLOCK_IP = 28


cdef class Tape:
    cdef relay_tape c
    cdef object _head
    cdef dict _numbers, _ends
    cdef list _notes

    def __cinit__(self, size_t limit, head):
        if relay_tape_open(&self.c, limit):
            raise MemoryError
        self._head = head
        self._numbers = {}
        self._ends = {}
        self._notes = []

    def __dealloc__(self):
        relay_tape_close(&self.c)

    @property
    def waiting(self):
        return self.c.packets

    cpdef uint32_t way(self, source, destination) except? 0xFFFFFFFF:
        number = self._numbers.get((source, destination))
        if number is None:
            number = self._numbers[(source, destination)] = self._prepare(source, destination)
        return number

    cdef uint32_t _prepare(self, source, destination) except? 0xFFFFFFFF:
        # The head of one more pair of addresses.
        cdef uint32_t count = len(self._notes)
        cdef const unsigned char[:] prefix
        cdef bytes note
        cdef relay_head *one
        prefix, ip_sum, udp_sum, note = self._head(source, destination)
        if len(prefix) not in (56, 76):
            raise ValueError(f"{len(prefix)} bytes are no head")
        room = realloc(self.c.heads, (count + 1) * sizeof(relay_head))
        if room == NULL:
            raise MemoryError
        self.c.heads = <relay_head *>room
        one = &self.c.heads[count]
        memcpy(one.bytes, &prefix[0], len(prefix))
        one.size, one.ip_sum, one.udp_sum = len(prefix), ip_sum, udp_sum
        one.note_size, one.note = len(note), <const unsigned char *><char *>note
        self._notes.append(note)
        # Two pairs that stand in the file alike (a zone of an address does not) are one there.
        self._ends.setdefault(ends_of(one.bytes) + note, (source, destination))
        return count

    def __call__(self, int64_t at_ns, source, destination, bytes data):
        cdef uint32_t way = self.way(source, destination)
        cdef const unsigned char *start = data
        if len(data) > RELAY_PAYLOAD:
            raise ValueError(f"{len(data)} bytes are no datagram")
        relay_tape_put(&self.c, at_ns, way, start, len(data))

    cdef _give(self, relay_taken *taken, left_out):
        # The evidence thread has done with it.
        cdef int64_t lost = taken.left_out, first = taken.left_out_first, last = taken.left_out_last
        relay_tape_give(taken)
        if lost:
            left_out(lost, first, last)

    def pour(self, packet, left_out):
        cdef relay_taken taken
        with nogil:
            relay_tape_take(&self.c, &taken)
        blocks = PyBytes_FromStringAndSize(<char *>taken.bytes, taken.used)
        self._give(&taken, left_out)
        for row in self._rows(blocks):
            packet(*row)

    def _rows(self, bytes blocks):
        # Read blocks back.
        cdef const unsigned char *start = blocks
        cdef const unsigned char *block
        cdef size_t at = 0, size, payload, note
        cdef int64_t at_ns
        while at < <size_t>len(blocks):
            block = start + at
            size = word(block + 4)
            at_ns = <int64_t>(<uint64_t>word(block + 12) << 32 | word(block + 16))
            payload = at + (76 if block[BLOCK_IP] >> 4 == 6 else 56)
            end = at + BLOCK_IP + word(block + 20)
            note = BLOCK_IP + ((word(block + 20) + 3) & ~<uint32_t>3)
            source, destination = self._ends[ends_of(block) + blocks[at + note:at + size - 4]]
            yield at_ns, source, destination, blocks[payload:end]
            at += size

    def encode(self, left_out):
        cdef relay_taken taken
        with nogil:
            relay_tape_take(&self.c, &taken)
        blocks, packets = PyBytes_FromStringAndSize(<char *>taken.bytes, taken.used), taken.packets
        self._give(&taken, left_out)
        return blocks, packets

    def append(self, int fd, int64_t end, left_out):
        cdef relay_taken taken
        cdef size_t written = 0
        cdef int error
        with nogil:
            error = relay_tape_write(&self.c, fd, end, &taken, &written)
        if error < 0:
            return None
        packets = taken.packets
        data = PyBytes_FromStringAndSize(<char *>taken.bytes, taken.used) if error else None
        self._give(&taken, left_out)
        return written, packets, data, error


cdef uint32_t word(const unsigned char *at) noexcept:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef bytes ends_of(const unsigned char *block):
    # Addresses and ports, as they stand in a block.
    if block[BLOCK_IP] >> 4 == 6:
        return PyBytes_FromStringAndSize(<char *>block + BLOCK_IP + 8, 36)
    return PyBytes_FromStringAndSize(<char *>block + BLOCK_IP + 12, 12)
