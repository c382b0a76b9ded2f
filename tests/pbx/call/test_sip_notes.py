"""What is said before a call begins belongs to its evidence, up to a limit that is told."""

from structlog.testing import capture_logs

from pbx.call.sip_notes import MAX_EARLY, SipNotes
from pbx.sip.flow import Flow

FLOW = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5062))


class Outside:
    """The media process, the calls and the line at once."""

    def __init__(self):
        self.sent, self.calls, self.waiting = [], {}, set()

    def send(self, command):
        self.sent.append((command.call, command.data))

    def call_of(self, sip_call_id):
        return self.calls.get(sip_call_id)

    def holds(self, call_id):
        return call_id in self.waiting


def made():
    outside = Outside()
    return SipNotes(outside, outside, outside), outside


def test_what_came_before_a_call_began_is_the_first_of_its_evidence():
    notes, outside = made()
    outside.waiting.add("help")
    notes.came("help", b"INVITE", FLOW)
    notes.went(b"SIP/2.0 100 Trying\r\nCall-ID: help\r\n\r\n", FLOW)
    notes.came("nobody's", b"OPTIONS", FLOW)
    notes.flush()
    assert outside.sent == []
    notes.begins("help")
    outside.waiting.clear()
    outside.calls["help"] = "call-1"
    notes.came("help", b"ACK", FLOW)
    notes.flush()
    assert [call for call, _ in outside.sent] == ["call-1"] * 3
    assert [data[:11] for _, data in outside.sent] == [b"INVITE", b"SIP/2.0 100", b"ACK"]


def test_a_phone_that_never_stops_talking_fills_no_memory():
    notes, outside = made()
    outside.waiting.add("help")
    with capture_logs() as told:
        for number in range(3 * MAX_EARLY):
            notes.came("help", b"%d" % number, FLOW)
            notes.flush()
    assert [(line["event"], line["kept"]) for line in told] == [("early_messages_full", MAX_EARLY)]
    notes.begins("help")
    outside.calls["help"] = "call-1"
    notes.flush()
    assert [data for _, data in outside.sent] == [b"%d" % number for number in range(MAX_EARLY)]


def test_a_call_that_never_begins_leaves_nothing():
    notes, outside = made()
    outside.waiting.add("help")
    notes.came("help", b"INVITE", FLOW)
    notes.flush()
    notes.forget("help")
    notes.begins("help")
    outside.calls["help"] = "call-1"
    notes.flush()
    assert outside.sent == []
