"""When two payload formats are the same one, and what an answer says about a format it takes."""

import re
from functools import lru_cache
from typing import Final

from rtp.control import Codec

# RFC 3551 §6, tables 4 and 5: formats a peer may name by number alone.
STATIC: Final[dict[int, Codec]] = {
    codec.payload_type: codec
    for codec in (
        Codec("PCMU", 0, 8000), Codec("GSM", 3, 8000), Codec("G723", 4, 8000), Codec("DVI4", 5, 8000),
        Codec("DVI4", 6, 16000), Codec("LPC", 7, 8000), Codec("PCMA", 8, 8000), Codec("G722", 9, 8000),
        Codec("L16", 10, 44100, 2), Codec("L16", 11, 44100), Codec("QCELP", 12, 8000), Codec("CN", 13, 8000),
        Codec("MPA", 14, 90000), Codec("G728", 15, 8000), Codec("DVI4", 16, 11025), Codec("DVI4", 17, 22050),
        Codec("G729", 18, 8000), Codec("CELB", 25, 90000), Codec("JPEG", 26, 90000), Codec("NV", 28, 90000),
        Codec("H261", 31, 90000), Codec("MPV", 32, 90000), Codec("MP2T", 33, 90000), Codec("H263", 34, 90000),
    )
}  # fmt: skip

# Carried beside sound, never sound or picture by themselves: a medium with nothing else has no codec in common.
AUXILIARY: Final = frozenset({"TELEPHONE-EVENT", "CN", "RED", "ULPFEC", "RTX"})

HEARD_ONLY: Final = frozenset({"AMR-WB"})
"""Sound that can be decoded here and not encoded: of use beside another codec only."""

_AMR: Final = frozenset({"AMR", "AMR-WB"})
_AMR_MIRRORED: Final = (
    "octet-align", "mode-set", "mode-change-period", "mode-change-capability", "mode-change-neighbor",
)  # fmt: skip

# Encoding names are case-insensitive (RFC 4855 §3), yet some parsers compare these two as their RFCs print them.
_AS_PRINTED: Final = {"OPUS": "opus", "TELEPHONE-EVENT": "telephone-event"}

_RTPMAP: Final = re.compile(
    r"([0-9]{1,3})[ \t]+([A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64})/([0-9]{1,9})(?:/([0-9]{1,3}))?[ \t]*"
)
_MODE_SETS: Final = {
    "AMR": re.compile(r"[0-7](?:,[0-7]){0,7}"),
    "AMR-WB": re.compile(r"[0-8](?:,[0-8]){0,8}"),
}
_PROFILE_LEVEL_ID: Final = re.compile(r"[0-9A-Fa-f]{6}")
_MAX_CLOCK_RATE: Final = 1_000_000  # Hz; RFC 3551 knows nothing above 90 kHz, audio stops at 192 kHz
REMEMBERED: Final = 64
"""Pairings kept: all phones of a make offer the same codecs, and an offer is looked at twice. Strangers fill 4 MiB at most."""
_BASELINE: Final = 0x42


def parse_rtpmap(value: str) -> Codec | None:
    """Read the text behind `a=rtpmap:`; None when it is no such thing or its numbers can't be (RFC 8866 §6.6)."""
    match = _RTPMAP.fullmatch(value)
    if match is None:
        return None
    payload_type, clock_rate, channels = int(match[1]), int(match[3]), int(match[4] or 1)
    if payload_type > 127 or not 0 < clock_rate <= _MAX_CLOCK_RATE or not 0 < channels <= 255:
        return None
    return Codec(match[2].upper(), payload_type, clock_rate, channels)


def format_rtpmap(codec: Codec) -> str:
    """Write the text behind `a=rtpmap:`."""
    name = _AS_PRINTED.get(codec.name, codec.name)
    channels = f"/{codec.channels}" if codec.channels != 1 else ""
    return f"{codec.payload_type} {name}/{codec.clock_rate}{channels}"


def parameters(fmtp: str) -> dict[str, str]:
    """Split `a=1;b=2` into names (ASCII lower case) and values; the first of equal names counts."""
    found: dict[str, str] = {}
    for part in fmtp.split(";"):
        name, _, value = part.strip(" \t").partition("=")
        if name and name.isascii():
            found.setdefault(name.lower().strip(" \t"), value.strip(" \t"))
    return found


def same_format(one: Codec, other: Codec) -> bool:
    """Tell whether two lines of SDP mean one payload format, whatever their payload types."""
    if (one.name, one.clock_rate) != (other.name, other.clock_rate):
        return False
    if one.name == "H264":
        return _same_h264(one.fmtp, other.fmtp)
    if one.name in _AMR:
        return one.channels == 1 and all(_speakable_amr(codec.name, codec.fmtp) for codec in (one, other))
    # RFC 7587 §7: "the number of channels MUST be 2"; phones that leave the "/2" out speak the same Opus.
    return one.name == "OPUS" or one.channels == other.channels


def taken(offered: Codec, ours: Codec) -> Codec:
    """Return the line of an answer that takes `offered` with what `ours` says we can receive.

    Both must be the `same_format`. The payload type is the peer's, the parameters are ours, save those that
    belong to the format itself and have to be mirrored.
    """
    if offered.name == "H264":
        fmtp = _h264_answer(offered.fmtp, ours.fmtp)
    elif offered.name == "H265":
        fmtp = _without_sprop(offered.fmtp)
    elif offered.name in _AMR:
        fmtp = _amr_answer(offered.fmtp)
    elif offered.name == "H263-1998":
        # RFC 4629 §8.2: sizes and annexes say what a side receives; relayed as it is, so the phone's own limits stand for the other's.
        fmtp = offered.fmtp
    else:
        fmtp = ours.fmtp
    return Codec(offered.name, offered.payload_type, offered.clock_rate, offered.channels, fmtp)


@lru_cache(REMEMBERED)
def common(offered: tuple[Codec, ...], ours: tuple[Codec, ...]) -> tuple[tuple[Codec, Codec], ...]:
    """Pair each offered codec that we know with ours, in the peer's order; empty when only auxiliaries match."""
    pairs = []
    for theirs in offered:
        match = next((codec for codec in ours if same_format(theirs, codec)), None)
        if match is not None:
            pairs.append((theirs, match))
    if all(theirs.name in AUXILIARY or theirs.name in HEARD_ONLY for theirs, _ in pairs):
        return ()
    # RFC 3264 §6.1: who offered sends any format of the answer, the first by preference. What can only be heard here stands
    # last, so that both ends begin with what both speak.
    return tuple(sorted(pairs, key=lambda pair: pair[0].name in HEARD_ONLY))


def _h264_profile(fmtp: dict[str, str]) -> tuple[int, int]:
    """Return (profile, level_idc) of a profile-level-id; RFC 6184 §8.1 infers Baseline at level 1 without one.

    The three ways to write Constrained Baseline (RFC 6184 table 5) come out as one, and together with Baseline:
    no telephone sends the tools that set the two apart (FMO, ASO), yet half of them leave the constraint bit out.
    """
    text = fmtp.get("profile-level-id", "")
    if _PROFILE_LEVEL_ID.fullmatch(text) is None:
        return _BASELINE, 10
    idc, iop, level = bytes.fromhex(text)
    if idc in (0x4D, 0x58) and iop & 0x80:
        return _BASELINE, level
    return idc, level


def _h264_mode(fmtp: dict[str, str]) -> int:
    """Return the packetization mode, 0 when none is stated (RFC 6184 §8.1), -1 when it is one we don't know."""
    return {"0": 0, "1": 1}.get(fmtp.get("packetization-mode", "0"), -1)


def _same_h264(one: str, other: str) -> bool:
    # RFC 6184 §8.2.2: profile-level-id (but for the level) and packetization-mode identify the media format
    # configuration and have to be used symmetrically: modes 0 and 1 are two formats.
    left, right = parameters(one), parameters(other)
    mode = _h264_mode(left)
    return mode >= 0 and mode == _h264_mode(right) and _h264_profile(left)[0] == _h264_profile(right)[0]


def _h264_answer(offered: str, ours: str) -> str:
    theirs, mine = parameters(offered), parameters(ours)
    parts = []
    text = theirs.get("profile-level-id", "")
    if _PROFILE_LEVEL_ID.fullmatch(text) is not None:
        level = _h264_profile(theirs)[1]
        limit = _h264_profile(mine)[1] if "profile-level-id" in mine else level
        asymmetric = theirs.get("level-asymmetry-allowed") == "1"
        # RFC 6184 §8.2.2: without level-asymmetry-allowed=1 on both sides both directions share one level, which
        # an answer may lower and not raise; with it the level says what this side receives.
        level = limit if asymmetric else min(level, limit)
        parts.append(f"profile-level-id={text[:4]}{level:02x}")
        if asymmetric:
            parts.append("level-asymmetry-allowed=1")
    if "packetization-mode" in theirs:
        parts.append(f"packetization-mode={_h264_mode(theirs)}")
    return ";".join(parts)


def _speakable_amr(name: str, fmtp: str) -> bool:
    # RFC 4867 §8.1: CRC implies octet-align, and so do robust sorting and interleaving; none of them is spoken here.
    said = parameters(fmtp)
    modes = said.get("mode-set")
    return (
        said.get("crc", "0") == "0"
        and said.get("robust-sorting", "0") == "0"
        and "interleaving" not in said
        and said.get("channels", "1") == "1"
        and said.get("octet-align", "0") in {"0", "1"}
        and (modes is None or _MODE_SETS[name].fullmatch(modes) is not None)
    )


def _amr_answer(offered: str) -> str:
    # RFC 4867 §8.3.1: octet-align and mode-set are used symmetrically; what is left out has its default.
    said = parameters(offered)
    return ";".join(f"{name}={said[name]}" for name in _AMR_MIRRORED if name in said)


def _without_sprop(fmtp: str) -> str:
    # RFC 7798 §7.2.2: profile, tier and interoperability constraints are used symmetrically; the sprop-… tell of
    # the sender's own stream. H.265 is relayed as it is, so what was offered is what is mirrored.
    parts = (part.strip(" \t") for part in fmtp.split(";"))
    return ";".join(part for part in parts if part and not part.lower().startswith("sprop-"))
