"""One phone of an address-of-record: what a registrar remembers of it, and when two Contacts are one phone."""

from dataclasses import dataclass

from msgspec import structs

from pbx.sip.errors import SipError
from pbx.sip.flow import Flow, restore_flow
from pbx.sip.uri import NameAddr, Uri, parse_name_addr

Key = tuple[object, ...]
"""What makes two Contacts one binding."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone of an address-of-record."""

    aor: str
    contact: NameAddr
    """As registered, without `expires` and `q`. What its URI carries behind `?` is kept and shown, never obeyed."""
    flow: Flow
    """Where requests for this phone are sent."""
    call_id: str
    cseq: int
    q: float
    """0…1, the phone's own preference."""
    registered_at: float
    """Wall clock, seconds: the last refresh."""
    refreshed_at: float
    """Monotonic seconds: the same moment."""
    expires_at: float
    """Monotonic seconds."""
    order: int
    """Counts refreshes of the whole registrar: larger is newer."""
    user_agent: str | None = None
    path: tuple[NameAddr, ...] = ()
    """Proxies between us and the phone, nearest first (RFC 3327): the Route of every request to it."""
    direct: bool = True
    """No proxy stands between; else its flow is that of many phones, and says nothing of who sends on it."""
    heard: tuple[str, str, int] | None = None
    """(transport, IP address, port) the phone was heard from by a proxy of ours, if one said so."""

    @property
    def target(self) -> Uri:
        """The Request-URI to call this phone with.

        RFC 3261 §19.1.5 would have the `?headers` of a Contact put into requests; a stranger's Route in there would make
        us send wherever it likes (RFC 4475 §3.3.14), so they stay out.
        """
        return structs.replace(self.contact.uri, headers=())

    @property
    def expires_wall(self) -> float:
        """Wall clock, seconds, when this binding ends: for the database."""
        return self.registered_at + self.expires_at - self.refreshed_at


def binding_key(contact: NameAddr) -> Key:
    """Return what makes two Contacts one binding: a phone's instance (RFC 5626 §6), else its URI (RFC 3261 §19.1.4).

    URI parameters that only one of the two has count as a difference here, where the RFC forgives some: at worst a phone that
    changes them is listed twice until the old binding ends.
    """
    uri = contact.uri
    if not uri.is_sip:
        raise SipError(400, "Contact Is No SIP URI")
    instance, reg_id = contact.param("+sip.instance"), contact.param("reg-id")
    if instance is not None and reg_id is not None:
        return ("instance", instance, reg_id)
    params = tuple(sorted((_lower(name), _lower(value or "")) for name, value in uri.params))
    headers = tuple(sorted((_lower(name), value) for name, value in uri.headers))
    return (
        uri.scheme,
        uri.user_text or "",
        uri.password or "",
        _lower(uri.host),
        uri.port or 0,
        params,
        headers,
    )


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


def kept(contact: NameAddr) -> NameAddr:
    """Return the part of a Contact that is stored: all but `expires` and `q`, which are fields of the binding."""
    params = tuple(pair for pair in contact.params if _lower(pair[0]) not in ("expires", "q"))
    return NameAddr(contact.display, contact.uri, params)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def pack(binding: Binding) -> dict[str, object]:
    """Return plain data for `unpack`. Texts of phones are bytes: they need not be Unicode."""
    return {
        "aor": _bytes(binding.aor),
        "contact": _bytes(str(binding.contact)),
        "flow": binding.flow.snapshot(),
        "call_id": _bytes(binding.call_id),
        "cseq": binding.cseq,
        "q": binding.q,
        "registered_at": binding.registered_at,
        "refreshed_at": binding.refreshed_at,
        "expires_at": binding.expires_at,
        "order": binding.order,
        "user_agent": None if binding.user_agent is None else _bytes(binding.user_agent),
        "path": [_bytes(str(route)) for route in binding.path],
        "direct": binding.direct,
        "heard": None if binding.heard is None else list(binding.heard),
    }


def unpack(data: object) -> Binding:
    """Undo `pack`; raises ValueError when the data is something else."""
    match data:
        case {
            "aor": bytes(aor), "contact": bytes(contact), "flow": [*flow], "call_id": bytes(call_id),
            "cseq": int(cseq), "q": float(q), "registered_at": float(registered_at),
            "refreshed_at": float(refreshed_at), "expires_at": float(expires_at), "order": int(order),
            "user_agent": bytes() | None as user_agent, "path": [*path], "direct": bool(direct),
            "heard": None | [str(), str(), int()] as heard,
        }:  # fmt: skip
            return Binding(
                aor=_text(aor),
                contact=parse_name_addr(_text(contact)),
                flow=restore_flow(flow),
                call_id=_text(call_id),
                cseq=cseq,
                q=q,
                registered_at=registered_at,
                refreshed_at=refreshed_at,
                expires_at=expires_at,
                order=order,
                user_agent=None if user_agent is None else _text(user_agent),
                path=tuple(parse_name_addr(_text(route)) for route in path),
                direct=direct,
                heard=None if heard is None else (heard[0], heard[1], heard[2]),
            )
        case _:
            raise ValueError("not a binding of a snapshot")
