"""Other ways to a phone when the one a request took turns out to be dead (RFC 5626 §7, §11.5).

in → out: registrations; requests of ours that leave for phones, and how they ended → the same request for the next way of the
same instance. Whoever sent it sees one request with one outcome. Pure.

What is asked here is a proxy's question, and the answer is the same request again, as a proxy's next branch would be: no phone
has seen the first. Not kept through restarts but for what registrations tell anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pbx.sip.effects import ResponseArrived, TransactionFailed
from pbx.sip.grammar import lower

if TYPE_CHECKING:
    from pbx.binding import Binding
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.sip.uri import NameAddr, Uri

MAX_WAYS: Final = 4
"""Ways tried for one request: two networks, through two proxies each."""
MAX_KNOWN: Final = 20_000
"""Contacts remembered, as many as phones may register; the one longest not heard of is forgotten."""

FLOW_FAILED: Final = 430
# RFC 5626 §7 has the next flow tried after 430 and 408. Of a proxy in front also: 410 and 480, which those say that do not know
# 430; 477, Kamailio's when it could not send. A phone may say 480 of itself, so they count only as long as none has rung.
_OF_A_PROXY: Final = frozenset({408, 410, 477, 480})

Place = tuple[str | None, str, int | None]
PhoneKey = tuple[str, str]
"""(address-of-record, instance)"""
Way = tuple["Flow", tuple["NameAddr", ...]]
"""Where a request leaves us, and its Route."""


@dataclass(frozen=True, slots=True)
class Again:
    """Send `request`, which went another way in vain, to `phone`."""

    ref: str
    request: Request
    phone: Binding


@dataclass(frozen=True, slots=True)
class Reached:
    """What was sent under `ref` reached the phone, but over `phone`: its dialog is there now."""

    ref: str
    phone: Binding


@dataclass(slots=True)
class _Sent:
    request: Request
    key: PhoneKey
    tried: list[Way]
    rang: bool = False
    """The phone itself has spoken: it has the request, whatever becomes of it."""
    phone: Binding | None = field(default=None)
    """The way tried last, if it is not the first."""


class Ways:
    """All phones that told their instance, by what they call themselves, and the requests under way to them."""

    def __init__(self, lookup: Callable[[str, float], Sequence[Binding]]) -> None:
        """`lookup` gives the live bindings of an address-of-record, the newest first."""
        self._lookup = lookup
        self._known: dict[Place, PhoneKey] = {}
        self._sent: dict[str, _Sent] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def registered(self, binding: Binding) -> None:
        """Hear that a phone registered or refreshed."""
        instance = binding.contact.param("+sip.instance")
        if instance is None:
            return
        place = _place(binding.contact.uri)
        self._known.pop(place, None)
        self._known[place] = (binding.aor, instance)
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def sent(self, ref: str, request: Request, flow: Flow) -> None:
        """Hear that a request leaves over a flow."""
        key = self._known.get(_place(request.uri))
        if key is not None and ref not in self._sent:
            self._sent[ref] = _Sent(request, key, [(flow, request.routes)])

    def cancelled(self, ref: str) -> None:
        """Hear that a request is wanted no more: it goes no other way."""
        self._sent.pop(ref, None)

    def ended(self, event: ResponseArrived | TransactionFailed, now: float) -> Again | Reached | None:
        """Judge how a request ended. None: that is all there is to know."""
        sent = self._sent.get(event.ref)
        if sent is None:
            return None
        if isinstance(event, ResponseArrived) and event.response.status < 200:
            sent.rang = sent.rang or event.response.status > 100
            return None
        if _is_dead(event, sent) and (phone := self._other(sent, now)) is not None:
            sent.phone = phone
            sent.tried.append((phone.flow, phone.path))
            return Again(event.ref, _over(sent.request, phone), phone)
        del self._sent[event.ref]
        return None if sent.phone is None else Reached(event.ref, sent.phone)

    def _other(self, sent: _Sent, now: float) -> Binding | None:
        if len(sent.tried) >= MAX_WAYS:
            return None
        aor, instance = sent.key
        for phone in self._lookup(aor, now):
            same = phone.contact.param("+sip.instance") == instance
            if same and (phone.flow, phone.path) not in sent.tried:
                return phone
        return None


def _is_dead(event: ResponseArrived | TransactionFailed, sent: _Sent) -> bool:
    """Whether another way may still lead to the phone.

    RFC 5626 §7: after any other final response the proxy "MUST NOT forward the same request to another target representing
    the same AOR and instance-id": the phone has answered.
    """
    if isinstance(event, TransactionFailed):
        return not sent.rang
    status = event.response.status
    return status == FLOW_FAILED or (status in _OF_A_PROXY and bool(sent.tried[-1][1]) and not sent.rang)


def _over(request: Request, phone: Binding) -> Request:
    """Give the request its new target and Route; Call-ID, CSeq and From stay, as in every branch of a proxy."""
    copy = request.copy()
    copy.uri = phone.target
    copy.headers.remove("Route")
    for hop in reversed(phone.path):
        copy.headers.prepend("Route", str(hop))
    return copy


def _place(uri: Uri) -> Place:
    return uri.user, lower(uri.host), uri.port
