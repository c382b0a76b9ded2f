"""How much of a picture an end takes, by its SDP: bits a second of b= lines and of the H.264 level (RFC 3890, RFC 6184 §8.1). Pure.

Description ─▶ picture_limit ─▶ bits a second of RTP, and what says so; None where nothing is said
"""

import re
from typing import Final

from pbx.sdp.codecs import parameters
from pbx.sdp.description import Description, Media

_BANDWIDTH: Final = re.compile(r"(AS|TIAS):([0-9]{1,10})")
# H.264 table A-1: MaxBR of Baseline and Main in 1,000 bits a second, by level_idc.
LEVEL_KBITS: Final = {
    10: 64, 11: 192, 12: 384, 13: 768, 20: 2000, 21: 4000, 22: 4000, 30: 10_000, 31: 14_000, 32: 20_000, 40: 20_000,
    41: 50_000, 42: 50_000, 50: 135_000, 51: 240_000, 52: 240_000,
}  # fmt: skip


def picture_limit(description: Description) -> tuple[int, str] | None:
    """Give the least of what an end states for its picture: (bits a second, `AS`, `TIAS` or `level`)."""
    found: list[tuple[int, str]] = []
    for media in description.media:
        if media.kind != "video" or not media.port:
            continue
        for text in (*media.bandwidth, *_session(description, media)):
            match = _BANDWIDTH.fullmatch(text)
            if match is not None and int(match[2]):
                # RFC 8866 §5.8: AS in kilobits, headers of IP and UDP included; RFC 3890: TIAS in bits, without them.
                found.append((int(match[2]) * (1000 if match[1] == "AS" else 1), match[1]))
        if (level := _level(media)) is not None:
            found.append((level, "level"))
    return min(found, default=None)


def _session(description: Description, media: Media) -> tuple[str, ...]:
    """The session's limit holds for all media together: for the picture where it states none of its own."""
    return () if media.bandwidth else description.bandwidth


def _level(media: Media) -> int | None:
    """What the level of the first codec allows, when that is H.264."""
    if not media.codecs or media.codecs[0].name != "H264":
        return None
    said = parameters(media.codecs[0].fmtp)
    text = said.get("profile-level-id", "")
    if re.fullmatch(r"[0-9A-Fa-f]{6}", text) is None:
        return None
    kbits = LEVEL_KBITS.get(int(text[4:], 16))
    own = said.get("max-br", "")
    if (
        own.isascii() and own.isdigit() and len(own) < 8
    ):  # RFC 6184 §8.1: more than the level, in 1,000 bits a second
        kbits = max(kbits or 0, int(own))
    return None if kbits is None else kbits * 1000
