"""Large and broken datagrams against a running exchange, where datagrams are broken into fragments at all (bars F21).

Run as a program in a network namespace of its own: there the loopback gets the MTU of an Ethernet, so the kernel cuts every
longer datagram into fragments, and fragments of our own making can be sent without the last one. Prints one line of JSON.
"""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.live.kit import ports, wire
from tests.live.kit.exchange import Exchange

MTU = 1500
SIZES = (1300, 1500, 4000, 16_000, 60_000)
BROKEN = 20
"""INVITEs sent in fragments, half of them without the last."""
PILE = 10_000
"""Datagrams of which only the first fragment ever comes."""
PATIENCE = 10.0


def invite(user: str, port: int, size: int) -> bytes:
    """Write an emergency INVITE of exactly `size` bytes."""
    body = wire.offer(audio=ports.block(4), video=None, direction="sendrecv", version=1)

    def text(fill: list[int]) -> bytes:
        padding = "".join(f"X-Fill: {'x' * count}\r\n" for count in fill)
        return (
            f"INVITE sip:110@at110 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{user};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{user}@at110>;tag={user}\r\nTo: <sip:110@at110>\r\nCall-ID: {user}\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:{user}@127.0.0.1:{port}>\r\n{padding}Content-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    fill: list[int] = []
    while (missing := size - len(text(fill))) > 0:
        fill.append(min(4000, max(0, missing - len("X-Fill: \r\n"))))
    data = text(fill)
    assert abs(len(data) - size) <= 12, f"{len(data)} bytes instead of {size}"
    return data


def called(sock: socket.socket, seconds: float) -> int:
    """Wait for the final answer to an INVITE, acknowledge it and hang up; gives its status, 0 when none comes."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, exchange = sock.recvfrom(65535)
        except TimeoutError:
            break
        answer = wire.parse(data)
        if answer is None or answer.status < 200 or answer.method != "INVITE":
            continue
        if answer.status == 200:
            for number, method in ((1, "ACK"), (2, "BYE")):
                sock.sendto(in_dialog(answer, method, number, sock.getsockname()[1]), exchange)
        return answer.status
    return 0


def forbidding(raw: socket.socket, sources: set[int]) -> dict[str, int]:
    """Count what came by IPv4 from some UDP ports, and how much of it forbids routers to cut it (RFC 791 §3.1, DF)."""
    seen = {"came": 0, "uncuttable": 0}
    raw.setblocking(False)
    while True:
        try:
            data = raw.recv(65535)
        except BlockingIOError:
            return seen
        head = (data[0] & 15) * 4
        if int.from_bytes(data[head : head + 2]) in sources:
            seen["came"] += 1
            seen["uncuttable"] += bool(data[6] & 0x40)


def heard_by_routers(exchange: Exchange) -> dict[str, dict[str, int]]:
    """Make a call of half a second and look at the answers and the sound that come, as a router would."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as signalling,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as media,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.sendto(invite("routed", sock.getsockname()[1], 1300), exchange.sip)
        sock.settimeout(PATIENCE)
        answer = None
        while answer is None or answer.status < 200:
            answer = wire.parse(sock.recv(65535))
        sock.sendto(in_dialog(answer, "ACK", 1, sock.getsockname()[1]), exchange.sip)
        port = wire.media_port(answer.body)
        time.sleep(0.5)
        sock.sendto(in_dialog(answer, "BYE", 2, sock.getsockname()[1]), exchange.sip)
        return {"SIP": forbidding(signalling, {exchange.sip[1]}), "RTP": forbidding(media, {port, port + 1})}


def in_dialog(answer: wire.Message, method: str, number: int, port: int) -> bytes:
    return (
        f"{method} {answer.contact} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{time.monotonic_ns()};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: {answer.get('from')}\r\nTo: {answer.get('to')}\r\nCall-ID: {answer.get('call-id')}\r\n"
        f"CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def fragments(data: bytes, source: int, target: tuple[str, int], number: int) -> list[bytes]:
    """Cut a datagram into IP fragments (RFC 791 §3.2) as they are handed to a raw socket; no checksum of UDP."""
    udp = source.to_bytes(2) + target[1].to_bytes(2) + (8 + len(data)).to_bytes(2) + bytes(2) + data
    size = (MTU - 20) // 8 * 8
    pieces = [udp[at : at + size] for at in range(0, len(udp), size)]
    made = []
    for index, piece in enumerate(pieces):
        more = 0x2000 if index < len(pieces) - 1 else 0
        head = bytes([0x45, 0, 0, 0]) + number.to_bytes(2) + (more | index * size // 8).to_bytes(2)
        addresses = socket.inet_aton("127.0.0.1") + socket.inet_aton(target[0])
        made.append(head + bytes([64, socket.IPPROTO_UDP, 0, 0]) + addresses + piece)
    return made


def resident(exchange: Exchange) -> float:
    """KiB of memory of the processes of the exchange."""
    started = re.findall(r'"pid":([0-9]+),.*"event":"process_started"', exchange.log)
    assert started, "the log names no process"
    sizes = [re.search(r"VmRSS:\s+([0-9]+)", Path(f"/proc/{pid}/status").read_text()) for pid in started]
    return sum(float(size[1]) for size in sizes if size)


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", str(MTU), "up"], check=True)
    exchange = Exchange()
    exchange.start()
    try:
        found: dict[str, object] = {}
        sizes = {}
        for size in SIZES:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", 0))
                sock.sendto(invite(f"size-{size}", sock.getsockname()[1], size), exchange.sip)
                sizes[str(size)] = called(sock, PATIENCE)
        found["sizes"] = sizes
        found["routed"] = heard_by_routers(exchange)
        whole: list[int] = []
        broken: list[int] = []
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for number in range(BROKEN):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("127.0.0.1", 0))
                    port = sock.getsockname()[1]
                    pieces = fragments(invite(f"cut-{number}", port, 4000), port, exchange.sip, 1 + number)
                    for piece in pieces[: -1 if number % 2 else None]:
                        raw.sendto(piece, (exchange.sip[0], 0))
                    (broken if number % 2 else whole).append(called(sock, 0.1 if number % 2 else PATIENCE))
            found["whole"], found["broken"] = whole, broken
            before = resident(exchange)
            first = fragments(invite("pile", 5060, 4000), 5060, exchange.sip, 0)[0]
            for number in range(PILE):
                raw.sendto(first[:4] + (1000 + number).to_bytes(2) + first[6:], (exchange.sip[0], 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.sendto(invite("last", sock.getsockname()[1], 1300), exchange.sip)
            found["after"] = called(sock, PATIENCE)
        found["grown"] = resident(exchange) - before
        exchange.until(lambda: not exchange.calls(), "calls are left over", timeout=PATIENCE)
        arrived = [line for line in exchange.log.splitlines() if '"event":"call_arrived"' in line]
        found["users"] = [json.loads(line)["number"] for line in arrived]
    finally:
        exchange.stop()
    exchange.remove()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
