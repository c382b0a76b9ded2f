"""Seeded mutation, for machines without atheris and for the slice of every test run: no coverage, but always the same."""

import random
from typing import Final

WORDS: Final = (
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\x00", b"\xff", b"\xc3\x28", b"%", b"%00", b"%31", b'"', b"<", b">", b";", b",", b"=", b"@",
    b":", b"?", b" ", b"\t", b"\r\n ", b"SIP/2.0", b"INVITE ", b"sip:110@x", b"tel:110", b"urn:service:sos", b";tag=", b";lr", b"4294967296",
    b"99999999999999999999", b"-1", b"0", b"\xd9\xa3", b"Content-Length: 0", b"Content-Length: 99999", b"Via: SIP/2.0/UDP h", b"To: <sip:a>",
    b"i: x", b"Call-ID: y", b"CSeq: 1 INVITE", b"[::1]", b"[", b"]", b"m=audio 1 RTP/AVP 0\r\n", b"c=IN IP4 0.0.0.0\r\n", b"a=rtpmap:96 ",
    b"--b", b"--b--", b"boundary=", b"nonce=", b"qop=auth", b"nc=00000001",
)  # fmt: skip


def mutants(seeds: list[bytes], count: int, dice: random.Random, *, longest: int = 16_384) -> list[bytes]:
    """Return the seeds and `count` mutants of them: cut, doubled, spliced, with words put in and bits flipped."""
    made = list(seeds)
    for _ in range(count):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data) + 1)
            end = min(len(data), at + dice.randrange(1, 64))
            match dice.randrange(6):
                case 0:
                    data[at:at] = dice.choice(WORDS)
                case 1:
                    del data[at:end]
                case 2:
                    data[at:at] = data[at:end] * dice.randrange(1, 20)
                case 3:
                    data[at:end] = dice.choice(WORDS)
                case 4:
                    other = dice.choice(seeds)
                    data[at:] = other[dice.randrange(len(other) + 1) :]
                case _:
                    if at < len(data):
                        data[at] ^= 1 << dice.randrange(8)
        made.append(bytes(data[:longest]))
    return made
