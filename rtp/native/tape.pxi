# Tapes: packets of one call on their way to its file.

cdef class Tape:
    cdef relay_tape c
    cdef unsigned char *spare
    cdef size_t spare_room
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
        self.heads = NULL
        self.head_count = 0

    def __dealloc__(self):
        relay_tape_close(&self.c)
        free(self.spare)
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

    cdef size_t _take(self, left_out, int64_t *packets) except? 0:
        # The evidence thread: take what is there under the lock, read it without. What is full comes to `spare`; its bytes used,
        # and how many packets they are.
        cdef unsigned char *full
        cdef size_t used, room
        cdef int64_t lost, first, last
        with nogil:
            pthread_mutex_lock(&self.c.lock)
            full, used, room = self.c.bytes, self.c.used, self.c.room
            self.c.bytes, self.c.used, self.c.room = self.spare, 0, self.spare_room
            lost, first, last = self.c.left_out, self.c.left_out_first, self.c.left_out_last
            packets[0] = self.c.packets
            self.c.left_out = self.c.packets = 0
            pthread_mutex_unlock(&self.c.lock)
        self.spare, self.spare_room = full, room
        if lost:
            left_out(lost, first, last)
        return used

    def pour(self, packet, left_out):
        cdef int64_t packets
        cdef size_t used = self._take(left_out, &packets), at = 0
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

    cdef bytes _blocks(self, size_t used):
        # All that lies in `spare` as blocks.
        cdef size_t at = 0, size = 0
        cdef relay_record *record
        cdef bytes made
        while at < used:
            record = <relay_record *>(self.spare + at)
            size += relay_block_size(&self.heads[record.way], record.size)
            at += sizeof(relay_record) + ((record.size + 7) & ~<size_t>7)
        made = PyBytes_FromStringAndSize(NULL, size)
        relay_tape_blocks(<unsigned char *>PyBytes_AS_STRING(made), self.spare, used, self.heads)
        return made

    cdef size_t _fetch(self, head, left_out, int64_t *packets) except? 0:
        # Everything to `spare`, and a head for every way that is there; as `_take`.
        cdef size_t used
        self._prepare(head)  # what can't be written stays on the tape
        used = self._take(left_out, packets)
        self._prepare(head)  # the loop went on meanwhile
        return used

    def encode(self, head, left_out):
        cdef int64_t packets
        cdef size_t used = self._fetch(head, left_out, &packets)
        return self._blocks(used), packets

    def append(self, int fd, int64_t end, head, left_out):
        cdef int64_t packets
        cdef size_t used, written = 0
        cdef int error, there
        with nogil:
            there = relay_file_size(fd) == end
        if not there:
            return None
        used = self._fetch(head, left_out, &packets)
        with nogil:
            error = relay_tape_write(fd, self.spare, used, self.heads, &written)
        if not error:
            return written, packets, None, 0
        return written, packets, self._blocks(used), error

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
