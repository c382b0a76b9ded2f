"""What two threads share: C relays and writes tapes without the interpreter while the evidence thread pours them out."""

import threading
import time
from unittest.mock import patch

from recordings import pcapng
from tests.kit.media_wire import PHONE, Wire, packet, rtp_socket, running

PACKETS = 3000


def test_a_tape_is_poured_out_while_c_writes_it():
    with running("native") as parts, patch("rtp.track.disconnect", lambda sock: sock.connect(None)):
        wire, tape = Wire(), parts.tape(pcapng.head)
        guest, host = wire.configured("guest"), wire.configured("host")
        for track in (guest, host):
            wire.loop.read(rtp_socket(track), packet(1), PHONE)
        guest.wire(host, wire.loop.now)
        guest.evidence = host.sender.evidence = tape
        wire.loop.read(rtp_socket(guest), packet(2), PHONE)  # the first one of the relay is Python's
        guest._flow.permit(0.0)  # a burst is no flood here
        rows, losses, ended = [], [], threading.Event()

        def pour():
            while not ended.is_set():
                tape.pour(lambda *row: rows.append(row), lambda *loss: losses.append(loss))
            tape.pour(lambda *row: rows.append(row), lambda *loss: losses.append(loss))

        thread = threading.Thread(target=pour)
        thread.start()
        relay = wire.loop.relay
        for sequence in range(3, PACKETS + 3):
            rtp_socket(guest).arrive(packet(sequence))
            _, odd = relay.turn(time.monotonic() + 0.001)
            assert odd == []
            rtp_socket(host).settle()
        ended.set()
        thread.join()
        relayed, *_ = relay.counts
    assert relayed == PACKETS
    assert losses == []
    received = [data for _, source, _, data in rows if source == PHONE]
    assert received[1:] == [packet(sequence) for sequence in range(3, PACKETS + 3)]
    assert len(rows) == 2 * (PACKETS + 1)
