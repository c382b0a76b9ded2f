"""The 503 that costs no state (RFC 3261 §8.2.7, §21.5.4): made of the bytes of the request, without parsing it.

in → out: bytes, where they came from → bytes to send back, or None when there is nothing to answer (an ACK, no Via, rubbish).
It echoes what every response must and nothing else, so it is smaller than what it answers, or hardly larger.
"""

import hashlib
import re
from typing import Final

from msgspec.structs import replace

from pbx.guard import feedback
from pbx.guard.glance import method
from pbx.sip.errors import SipError
from pbx.sip.flow import DEFAULT_PORT
from pbx.sip.grammar import put_param, split_list
from pbx.sip.uri import Via, parse_via

MAX_ECHO: Final = 8 * 1024
"""Bytes of head looked at; a request whose Via, From, To, Call-ID and CSeq do not stand there gets no answer."""

# fmt: off
_ECHOED: Final = {
    b"via": b"via", b"v": b"via", b"from": b"from", b"f": b"from", b"to": b"to", b"t": b"to",
    b"call-id": b"call-id", b"i": b"call-id", b"cseq": b"cseq",
}
# fmt: on
_PLAIN_VIA: Final = re.compile(
    rb"(SIP/2\.0/[A-Z]{2,3} ([A-Za-z0-9.-]+)(?::([0-9]{1,4}))?)((?:;branch=[A-Za-z0-9._+-]+)?);rport"
    rb"((?:;branch=[A-Za-z0-9._+-]+)?)"
)
"""The Via that nearly every phone writes, which needs no parser; the others do."""

MARK: Final = b"at110-no-"
"""Begins the To tag of what is refused here, so that the ACK of a refusal is known by it; no tag of a dialog of ours does."""

_MARKED: Final = re.compile(rb"[\r\n](?:to|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=[ \t]*" + MARK, re.IGNORECASE)
_TAGGED: Final = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)
_FOLD: Final = re.compile(rb"\r\n[ \t]+")
_BARE: Final = re.compile(rb"[\r\n]")


def refuse(
    data: bytes, remote: tuple[str, int], *, retry_after: int, share: float, sequence: float
) -> tuple[bytes, Via] | None:
    """Return the 503 and the top Via as it came, which says where the answer goes (`pbx.sip.flow.answer_flow`).

    `retry_after`: seconds. `share` and `sequence`: for the report of RFC 7339, when the request asks for one.
    """
    if method(data) in (b"", b"SIP", b"ACK"):
        return None
    end = data.find(b"\r\n\r\n", 0, MAX_ECHO)
    if end < 0:
        return None
    head = data[:end]
    if b"\r\n " in head or b"\r\n\t" in head:
        head = _FOLD.sub(b" ", head)
    vias: list[bytes] = []
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        key = _ECHOED.get(name.rstrip(b" \t").lower())
        if key is None:
            continue
        if _BARE.search(value) is not None:
            return None  # the parser refuses it
        if key == b"via":
            vias.append(value.strip(b" \t"))
        else:
            fields.setdefault(key, value.strip(b" \t"))
    if not vias or len(fields) < 4:
        return None
    controlled = False
    plain = _PLAIN_VIA.fullmatch(vias[0])
    if plain is not None:
        here = b"%s;rport=%d%s;received=%s" % (plain[4], remote[1], plain[5], remote[0].encode())
        vias[0] = plain[1] + here
        via = Via("UDP", plain[2].decode(), int(plain[3] or DEFAULT_PORT), (("rport", None),))
    else:
        try:
            first, *rest = split_list(vias[0].decode("utf-8", "surrogateescape"))
            via = parse_via(first)
        except SipError:
            return None
        ours = _stamped(via, remote)
        controlled = feedback.asks(via)
        if controlled:
            ours = feedback.report(ours, share, sequence)
        vias[0] = ", ".join([str(ours), *rest]).encode("utf-8", "surrogateescape")
    to = fields[b"to"]
    if _TAGGED.search(to) is None:
        # RFC 3261 §8.2.7: a stateless answer has "the same To tag for each request" repeated: it is made of the request.
        seed = fields[b"call-id"] + fields[b"cseq"] + fields[b"from"]
        to += b";tag=" + MARK + hashlib.blake2s(seed, digest_size=6).hexdigest().encode()
    lines = [b"SIP/2.0 503 Service Unavailable", *(b"Via: " + value for value in vias)]
    lines += [
        b"From: " + fields[b"from"],
        b"To: " + to,
        b"Call-ID: " + fields[b"call-id"],
        b"CSeq: " + fields[b"cseq"],
    ]
    # RFC 7339 §5.10 and bars section 5: who takes reports holds back by them; Retry-After is for the others.
    if not controlled:
        lines.append(b"Retry-After: %d" % retry_after)
    return b"\r\n".join([*lines, b"Content-Length: 0", b"", b""]), via


def acknowledges(data: bytes) -> bool:
    """Tell whether a message is the ACK of a 503 of ours, which nobody waits for."""
    return (
        data.startswith(b"ACK ") and MARK in data[:MAX_ECHO] and _MARKED.search(data, 0, MAX_ECHO) is not None
    )


def _stamped(via: Via, remote: tuple[str, int]) -> Via:
    # RFC 3581 §4, RFC 3261 §18.2.1: as `pbx.sip.flow.stamp` does for what is parsed.
    host, port = remote
    if via.wants_rport:
        params = put_param(put_param(via.params, "received", host), "rport", str(port))
    elif via.host != host or via.has_param("received"):
        params = put_param(via.params, "received", host)
    else:
        return via
    return replace(via, params=params)
