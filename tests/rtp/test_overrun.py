import struct

from rtp.overrun import Overrun


class Counted:
    def __init__(self):
        self.dropped = 0

    def getsockopt(self, _level, _option, _size):
        return struct.pack("9I", *range(8), self.dropped & 0xFFFF_FFFF)


def test_what_was_not_stated_yet_is_given_until_it_is():
    sock = Counted()
    overrun = Overrun(sock)
    assert overrun.look() == 0
    sock.dropped = 5
    assert overrun.look() == overrun.look() == 5
    overrun.stated = 5
    assert overrun.look() == 0


def test_the_kernels_counter_may_wrap():
    sock = Counted()
    overrun = Overrun(sock)
    sock.dropped = 0xFFFF_FFF0
    overrun.look()
    sock.dropped += 0x20
    assert overrun.look() == 0xFFFF_FFF0 + 0x20
