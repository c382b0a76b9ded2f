# Records that C reads and writes in place: the counters of a source, the numbers of a stream.

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
