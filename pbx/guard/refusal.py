"""The 503 that costs no state (RFC 3261 §8.2.7, §21.5.4): made of the bytes of the request, without parsing it.

in → out: bytes, where they came from → bytes to send back, or None when there is nothing to answer (an ACK, no Via, rubbish).
It echoes what every response must and nothing else, so it is smaller than what it answers, or hardly larger.
"""

import hashlib
import re
from typing import Final

from pbx.guard import feedback
from pbx.guard.glance import method
from pbx.sip.errors import SipError
from pbx.sip.grammar import split_list
from pbx.sip.uri import Via, parse_via

MAX_ECHO: Final = 8 * 1024
"""Bytes of head looked at; a request whose Via, From, To, Call-ID and CSeq do not stand there gets no answer."""

_FIELD: Final = re.compile(
    rb"\r\n(via|v|from|f|to|t|call-id|i|cseq)[ \t]*:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)(?=\r\n)",
    re.IGNORECASE,
)
_LONG: Final = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id"}
_TAGGED: Final = re.compile(rb";[ \t]*tag[ \t]*=", re.IGNORECASE)
_FOLD: Final = re.compile(rb"\r\n[ \t]+")


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
    vias: list[bytes] = []
    fields: dict[bytes, bytes] = {}
    for found in _FIELD.finditer(data, 0, end + 2):
        name = found[1].lower()
        name = _LONG.get(name, name)
        value = _FOLD.sub(b" ", found[2]).strip(b" \t")
        if name == b"via":
            vias.append(value)
        else:
            fields.setdefault(name, value)
    if not vias or len(fields) < 4:
        return None
    try:
        first, *rest = split_list(vias[0].decode("utf-8", "surrogateescape"))
        via = parse_via(first)
    except SipError:
        return None
    controlled = feedback.asks(via)
    ours = feedback.report(_stamped(via, remote), share, sequence) if controlled else _stamped(via, remote)
    vias[0] = ", ".join([str(ours), *rest]).encode("utf-8", "surrogateescape")
    to = fields[b"to"]
    if _TAGGED.search(to) is None:
        # RFC 3261 §8.2.7: a stateless answer has "the same To tag for each request" repeated: it is made of the request.
        seed = fields[b"call-id"] + fields[b"cseq"] + fields[b"from"]
        to += b";tag=" + hashlib.blake2s(seed, digest_size=6).hexdigest().encode()
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


def _stamped(via: Via, remote: tuple[str, int]) -> Via:
    # RFC 3581 §4, RFC 3261 §18.2.1: as `pbx.sip.flow.stamp` does for what is parsed.
    host, port = remote
    if via.wants_rport:
        return via.with_param("received", host).with_param("rport", str(port))
    return via.with_param("received", host) if via.host != host or via.has_param("received") else via
