"""What a REFER says: Refer-To (RFC 3515 §2.1), Replaces (RFC 3891 §6.1), Refer-Sub (RFC 4488 §4), Referred-By (RFC 3892 §2).

in → out: a request → `Referred`, or the refusal the RFC wants. Nothing here is obeyed: who may, and what it means, is decided
by whoever holds the dialogs.
"""

from dataclasses import dataclass
from typing import Final

from pbx.sip import grammar
from pbx.sip.errors import SipError
from pbx.sip.message import Request
from pbx.sip.uri import Uri, parse_name_addr

METHODS: Final = frozenset({"INVITE", "BYE"})
"""What a Refer-To may ask for here: to have somebody in (the default), or out (RFC 4579 §5.11)."""


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog as the one who would replace it names it; the tags are those of whoever receives the INVITE."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False


@dataclass(frozen=True, slots=True)
class Referred:
    """What a REFER asks for."""

    uri: Uri
    method: str
    replaces: Replaces | None
    silent: bool
    """The sender wants no NOTIFYs (RFC 4488)."""
    by: str | None
    """The Referred-By, as stated: nobody vouches for it."""


def read(request: Request) -> Referred:
    """Read a REFER. Raises SipError 400 or 416."""
    # RFC 3515 §2.4.2: "An agent responding to a REFER method MUST return a 400 (Bad Request) if the request contained zero or
    # more than one Refer-To header field values."
    values = request.headers.all("Refer-To")
    if len(values) != 1:
        raise SipError(400, "Exactly One Refer-To")
    uri = parse_name_addr(values[0]).uri
    if uri.scheme not in {"sip", "sips", "tel"}:
        raise SipError(416)
    method = (uri.param("method") or "INVITE").upper()
    if method not in METHODS:
        raise SipError(400, "Refer-To Method")
    text = uri.header("Replaces")
    by = request.headers.get("Referred-By")
    return Referred(uri, method, None if text is None else replaces(text), _silent(request), by)


def replaces_of(request: Request) -> Replaces | None:
    """Read the Replaces header of an INVITE. Raises SipError(400) when it has two, or one that can't be read."""
    values = request.headers.lines("Replaces")
    # RFC 3891 §3: "If more than one Replaces header field is present in an INVITE, or if a Replaces header field is present
    # in a request other than INVITE, the UAS MUST reject the request with a 400 Bad Request response."
    if len(values) > 1:
        raise SipError(400, "One Replaces")
    return replaces(values[0]) if values else None


def check_method(request: Request) -> None:
    """Raise SipError(400) for a Replaces in anything but an INVITE (RFC 3891 §3, above)."""
    if request.method != "INVITE" and "Replaces" in request.headers:
        raise SipError(400, "Replaces Outside INVITE")


def replaces(text: str) -> Replaces:
    """Read the value of a Replaces header. Raises SipError(400)."""
    call_id, semicolon, rest = text.partition(";")
    params = grammar.parse_params(semicolon + rest, 0, "Replaces") if semicolon else ()
    found = {name: grammar.find_param(params, name) for name in ("to-tag", "from-tag")}
    call_id = call_id.strip(" \t")
    to_tag, from_tag = found["to-tag"], found["from-tag"]
    # RFC 3891 §6.1 wants exactly one of either tag, for a dialog can't be matched without them.
    if not call_id or to_tag is None or from_tag is None:
        raise SipError(400, "Malformed Replaces")
    early = grammar.find_param(params, "early-only") is not None
    return Replaces(call_id, to_tag[1] or "", from_tag[1] or "", early)


def _silent(request: Request) -> bool:
    # RFC 4488 §4: "Refer-Sub: false" asks that no implicit subscription be made.
    value = request.headers.get("Refer-Sub") or ""
    return grammar.lower(value.partition(";")[0].strip(" \t")) == "false"
