"""Somebody who sends valid-looking media to every port: `python -m tests.live.kit.spray HOST FIRST LAST RATE`.

RTP mostly, with streams of its own; RTCP that asks for pictures; ClientHellos. A line `SSRC SEQUENCE PORT` on standard input is
a guess: from then on some of the packets to that port pretend to be that stream. A line `PORT` has every second packet sent there from
then on. When standard input ends it prints JSON: when it sent to which port (seconds since 1970), and how many bytes came back.
"""

import json
import os
import random
import select
import socket
import sys
import time

from tests.live.kit import wire

MARK = 666
"""Whose the payloads say they are."""
HELLO = bytes.fromhex("16feff0000000000000000002a010000200000000000000020fefd") + bytes(40)
"""A record that begins a DTLS handshake, as far as anybody looks who should not look (RFC 6347 §4.2.1)."""
PLI = bytes.fromhex("80c90001 00000001 81ce0002 00000001 00000002")


def rtp(payload_type: int, sequence: int, ssrc: int, number: int) -> bytes:
    head = (
        bytes([0x80, payload_type])
        + (sequence & 0xFFFF).to_bytes(2)
        + (sequence * 160 & 0xFFFFFFFF).to_bytes(4)
    )
    return head + ssrc.to_bytes(4) + wire.marked(MARK, number)


def main() -> None:
    host, first, last, rate = sys.argv[1], *map(int, sys.argv[2:5])
    dice = random.Random(110)
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for sock in sockets:
        sock.setblocking(False)
    sent: dict[int, list[float]] = {port: [] for port in range(first, last + 1)}
    guesses: dict[int, tuple[int, int]] = {}
    came, number, began, waiting = 0, 0, time.monotonic(), b""
    ports, focus = list(sent), 0
    while True:
        if select.select([0], [], [], 0.002)[0]:
            data = os.read(0, 4096)
            if not data:
                break
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                *guess, port = map(int, line.split())
                if guess:
                    guesses[port] = (guess[0], guess[1])
                else:
                    focus = port
        while number < rate * (time.monotonic() - began):
            port = (
                focus
                if focus and number % 2
                else ports[number // 2 % len(ports) if focus else number % len(ports)]
            )
            turn = number // len(ports)
            number += 1
            sock = sockets[turn % len(sockets)] if port not in guesses else sockets[0]
            if port % 2:
                packet = PLI
            elif turn % 16 == 15:
                packet = HELLO
            elif port in guesses and turn % 16 != 7:
                ssrc, sequence = guesses[port]
                guesses[port] = (ssrc, sequence + 1)
                packet = rtp(8, sequence + 1, ssrc, number)
            else:
                packet = rtp(dice.choice((8, 8, 8, 96)), turn, 0x6666 + port, number)
            try:
                sock.sendto(packet, (host, port))
            except OSError:  # an ICMP error of a port that is closed, or a full queue
                continue
            sent[port].append(time.time())
        for sock in sockets:
            try:
                while True:
                    came += len(sock.recv(65535))
            except OSError:
                continue
    sys.stdout.write(json.dumps({"sent": sent, "came": came}))


if __name__ == "__main__":
    main()
