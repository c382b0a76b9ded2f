"""Which phones stand behind an address-of-record: the registrar of RFC 3261 §10.3, as a machine.

in → out: an authenticated REGISTER and the flow it came on → its response, and effects the database follows;
`lookup` → bindings, the newest first. A phone is called on the flow it registered from, whatever its Contact claims,
so a NAT in between does not matter (RFC 3581 keeps that road open for UDP, a connection for TCP).

Several flows of one phone (RFC 5626) are several bindings; which of them leads to it now is told by `pbx.flows`.

Behind a proxy the way through it is kept too (RFC 3327, `pbx.proxied`).

Not done: GRUU (RFC 5627): none is handed out, for a request to one would have to be routed, and we are no proxy.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from pbx import proxied
from pbx.binding import Binding, Key, binding_key, kept, pack, unpack
from pbx.proxied import Heard
from pbx.sip.errors import SipError
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.uri import NameAddr, Uri

MAX_BINDINGS: Final = 10  # per address-of-record, and Contacts per request: nobody owns more phones
MAX_STALE: Final = 64  # outdated entries of the timer heap, beside one per binding, before it is rebuilt
JITTER: Final = 0.1  # share of the interval

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    min_expires: int = 60
    """Seconds; shorter wishes are refused with 423."""
    max_expires: int = 3600
    """Seconds; longer wishes are cut to this, and no wish means this."""


@dataclass(frozen=True, slots=True)
class BindingAdded:
    binding: Binding


@dataclass(frozen=True, slots=True)
class BindingRefreshed:
    binding: Binding


@dataclass(frozen=True, slots=True)
class BindingRemoved:
    binding: Binding
    why: Literal["asked", "evicted", "flow_failed"]


@dataclass(frozen=True, slots=True)
class BindingExpired:
    binding: Binding


Effect = BindingAdded | BindingRefreshed | BindingRemoved | BindingExpired


class Registrar:
    """All bindings of this exchange."""

    def __init__(self, settings: RegistrarSettings | None = None) -> None:
        self._settings = settings or RegistrarSettings()
        self._bindings: dict[str, dict[Key, Binding]] = {}
        self._flows: dict[Flow, dict[tuple[str, Key], None]] = {}
        self._heard: dict[tuple[str, str, str, int], dict[tuple[str, Key], None]] = {}
        """(proxy, then where that heard the phone) → its bindings."""
        # (expires_at, order, aor, key); an entry whose binding was refreshed or removed since is skipped
        self._due: list[tuple[float, int, str, Key]] = []
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def register(
        self,
        request: Request,
        flow: Flow,
        aor: str,
        now: float,
        wall: float,
        *,
        to_tag: str,
        jitter: float = 0.0,
        trusted: bool = False,
    ) -> tuple[Response, list[Effect]]:
        """Carry out a REGISTER whose sender may do so for `aor`.

        `now` is monotonic, `wall` the wall clock, both in seconds. `jitter` −1…1, drawn by the caller, spreads the
        refreshes of phones that registered together: they are granted 80…100 % of their wish. `trusted`: a proxy of ours
        sent it, whose Path is followed.
        Returns 200 with all bindings, 400, 420, 423, 439 or 500; an error changes nothing.
        """
        try:
            path = proxied.path(request, trusted=trusted)
            proxied.check_outbound(request)
            effects = self._update(
                request, flow, aor, path, now=now, wall=wall, jitter=jitter, trusted=trusted
            )
        except SipError as error:
            headers = (*error.headers, ("Date", _date(wall)))
            return request.response(error.status, error.reason, to_tag=to_tag, headers=headers), []
        # RFC 3261 §10.3 step 8: "The response MUST contain Contact header field values enumerating all current bindings.
        # Each Contact value MUST feature an "expires" parameter … The response SHOULD include a Date header field."
        fields = [("Contact", _shown(binding, now)) for binding in self.lookup(aor, now)]
        fields.append(("Date", _date(wall)))
        # RFC 3327 §5.3: the registrar copies the Path into its 2xx, so that the phone can see who stands in between.
        fields += [("Path", str(hop)) for hop in path]
        if proxied.is_outbound(request):
            # RFC 5626 §6: a registrar that keeps a binding as a flow says so in its response.
            fields.append(("Require", "outbound"))
            if flow.reliable and proxied.is_direct(request):
                # RFC 5626 §4.4: how long the phone may be silent. Over UDP it would be told to send STUN, which we don't
                # answer; an edge proxy has to state its own.
                fields.append(("Flow-Timer", str(proxied.FLOW_TIMER)))
        return request.response(200, to_tag=to_tag, headers=fields), effects

    def lookup(self, aor: str, now: float) -> tuple[Binding, ...]:
        """Return the live bindings of `aor`, the most recently refreshed first."""
        bindings = (item for item in self._bindings.get(aor, {}).values() if item.expires_at > now)
        return tuple(sorted(bindings, key=_order, reverse=True))

    def adopt(self, bindings: Iterable[Binding], now: float) -> list[Effect]:
        """Take in phones that were registered before a restart, unless they (or newer ones in their place) are here by now."""
        effects: list[Effect] = []
        for binding in bindings:
            known = self._bindings.get(binding.aor, {})
            if (
                binding.expires_at <= now
                or binding_key(binding.contact) in known
                or len(known) >= MAX_BINDINGS
            ):
                continue
            self._order += 1
            kept_again = replace(binding, order=self._order)
            self._store(kept_again)
            effects.append(BindingAdded(kept_again))
        return effects

    def registered_from(self, flow: Flow, now: float) -> tuple[str, ...]:
        """Return the addresses-of-record with a live binding on exactly this flow."""
        if flow not in self._flows:
            return ()  # asked of every datagram of a flood
        return tuple(sorted({binding.aor for binding in self._on(flow) if binding.expires_at > now}))

    def speaking(self, flow: Flow, heard: Heard | None, now: float) -> tuple[str, ...]:
        """Return the addresses-of-record whose phone sends on this flow, and no other phone does.

        Of a flow that a proxy shares among phones, the registration of one says nothing of who is speaking now; `heard`, where
        a proxy of ours heard the phone, does.
        """
        if heard is None:
            found = [binding for binding in self._on(flow) if binding.direct]
        else:
            keys = self._heard.get((flow.remote[0], *heard), ())
            found = [self._bindings[aor][key] for aor, key in keys]
        return tuple(sorted({binding.aor for binding in found if binding.expires_at > now}))

    def _on(self, flow: Flow) -> list[Binding]:
        return [self._bindings[aor][key] for aor, key in self._flows.get(flow, {})]

    def paths(self, flow: Flow) -> list[Uri]:
        """Return what the proxy at the other end of a flow calls itself, as far as phones registered through it."""
        return [binding.path[0].uri for binding in self._on(flow) if binding.path]

    def move(self, old: Flow, new: Flow) -> None:
        """Reach the phones behind a proxy over another flow of that proxy."""
        for binding in sorted(self._on(old), key=_order):
            if binding.path:
                self._store(replace(binding, flow=new))

    def flow_failed(self, flow: Flow) -> list[Effect]:
        """Forget the phones behind a connection that broke: it was the only road to them."""
        bindings = self._on(flow)
        return [self._remove(binding, "flow_failed") for binding in sorted(bindings, key=_order)]

    def expire(self, now: float) -> list[Effect]:
        """Forget the bindings whose time has come."""
        effects: list[Effect] = []
        while (binding := self._next()) is not None and binding.expires_at <= now:
            self._drop(binding)
            effects.append(BindingExpired(binding))
        return effects

    @property
    def next_due(self) -> float | None:
        """Monotonic seconds of the next `expire`, or None."""
        binding = self._next()
        return None if binding is None else binding.expires_at

    def snapshot(self) -> dict[str, object]:
        """Plain data for `restore`. Texts of phones are bytes: they need not be Unicode."""
        bindings = sorted(
            (binding for by_key in self._bindings.values() for binding in by_key.values()),
            key=_order,
        )
        return {"order": self._order, "bindings": [pack(binding) for binding in bindings]}

    @classmethod
    def restore(cls, data: dict[str, object], settings: RegistrarSettings | None = None) -> "Registrar":
        """Undo `snapshot`; raises ValueError when the data is something else."""
        registrar = cls(settings)
        match data:
            case {"order": int(order), "bindings": [*packed]}:
                for item in packed:
                    registrar._store(unpack(item))
                registrar._order = order
            case _:
                raise ValueError("not a snapshot of a registrar")
        return registrar

    def _update(
        self,
        request: Request,
        flow: Flow,
        aor: str,
        path: tuple[NameAddr, ...],
        *,
        now: float,
        wall: float,
        jitter: float,
        trusted: bool,
    ) -> list[Effect]:
        known = self._bindings.get(aor, {})
        if request.contact_star:
            # RFC 3261 §10.3 step 6: "If the request has additional Contact fields or an expiration time other than zero,
            # the request is invalid, and the server MUST return a 400 (Invalid Request)".
            if request.expires != 0:
                raise SipError(400, "Contact * Needs Expires 0")
            doomed = sorted(known.values(), key=_order)
            for binding in doomed:
                _check_order(binding, request)
            return [self._remove(binding, "asked") for binding in doomed]
        contacts = request.contacts
        if len(contacts) > MAX_BINDINGS:
            raise SipError(400, "Too Many Contacts")
        # All is decided before anything changes. RFC 3261 §10.3 step 7: "The binding updates MUST be committed … if and only
        # if all binding updates and additions succeed."
        decided: dict[Key, Binding | None] = {}
        for order, contact in enumerate(contacts, self._order + 1):
            lifetime = self._granted(contact, request, jitter)
            key = binding_key(contact)
            if key in known:
                _check_order(known[key], request)
            decided[key] = None if lifetime == 0 else Binding(
                aor=aor,
                contact=kept(contact),
                flow=flow,
                call_id=request.call_id,
                cseq=request.cseq.number,
                q=contact.q,
                registered_at=float(wall),
                refreshed_at=float(now),
                expires_at=float(now + lifetime),
                order=order,
                user_agent=request.headers.get("User-Agent"),
                path=path,
                direct=proxied.is_direct(request),
                heard=proxied.heard(request) if trusted else None,
            )  # fmt: skip
        self._order += len(contacts)
        return self._commit(aor, decided)

    def _granted(self, contact: NameAddr, request: Request, jitter: float) -> int:
        """Return the seconds granted to a contact; 0 removes it."""
        wish = contact.expires if contact.expires is not None else request.expires
        if wish == 0:
            return 0
        if wish is None:
            wish = self._settings.max_expires
        # RFC 3261 §10.3 step 7: "If and only if the requested expiration interval is greater than zero AND smaller than
        # one hour AND less than a registrar-configured minimum, the registrar MAY reject the registration with a
        # response of 423 (Interval Too Brief)."
        if wish < min(self._settings.min_expires, 3600):
            raise SipError(423, headers=[("Min-Expires", str(self._settings.min_expires))])
        # "The registrar MAY choose an expiration less than the requested expiration interval", never a longer one, so the
        # jitter of ±10 % goes around 90 %.
        longest = min(wish, self._settings.max_expires)
        spread = 1 - JITTER + JITTER * max(-1.0, min(1.0, jitter))
        return max(1, int(longest * spread))

    def _commit(self, aor: str, decided: dict[Key, Binding | None]) -> list[Effect]:
        effects: list[Effect] = []
        for key, binding in decided.items():
            old = self._bindings.get(aor, {}).get(key)
            if binding is not None:
                effects.append(BindingAdded(binding) if old is None else BindingRefreshed(binding))
                self._store(binding)
            elif old is not None:
                effects.append(self._remove(old, "asked"))
        # A phone that comes back on a new port after each crash leaves its old selves behind for an hour. They give way,
        # for refusing the new one would lock the dispatcher out.
        while len(self._bindings.get(aor, {})) > MAX_BINDINGS:
            oldest = min(self._bindings[aor].values(), key=_order)
            effects.append(self._remove(oldest, "evicted"))
        return effects

    def _store(self, binding: Binding) -> None:
        key = binding_key(binding.contact)
        old = self._bindings.get(binding.aor, {}).get(key)
        if old is not None:
            self._drop(old)
        self._bindings.setdefault(binding.aor, {})[key] = binding
        self._flows.setdefault(binding.flow, {})[binding.aor, key] = None
        if binding.heard is not None:
            self._heard.setdefault((binding.flow.remote[0], *binding.heard), {})[binding.aor, key] = None
        self._count += 1
        if len(self._due) > 2 * self._count + MAX_STALE:
            self._due = [entry for entry in self._due if self._is_current(entry)]
            heapq.heapify(self._due)
        heapq.heappush(self._due, (binding.expires_at, binding.order, binding.aor, key))

    def _remove(self, binding: Binding, why: Literal["asked", "evicted", "flow_failed"]) -> BindingRemoved:
        self._drop(binding)
        return BindingRemoved(binding, why)

    def _drop(self, binding: Binding) -> None:
        key = binding_key(binding.contact)
        by_key, by_flow = self._bindings[binding.aor], self._flows[binding.flow]
        del by_key[key], by_flow[binding.aor, key]
        if not by_key:
            del self._bindings[binding.aor]
        if not by_flow:
            del self._flows[binding.flow]
        if binding.heard is not None:
            place = (binding.flow.remote[0], *binding.heard)
            self._heard[place].pop((binding.aor, key))
            if not self._heard[place]:
                del self._heard[place]
        self._count -= 1

    def _is_current(self, entry: tuple[float, int, str, Key]) -> bool:
        _, order, aor, key = entry
        binding = self._bindings.get(aor, {}).get(key)
        return binding is not None and binding.order == order

    def _next(self) -> Binding | None:
        while self._due:
            if self._is_current(self._due[0]):
                _, _, aor, key = self._due[0]
                return self._bindings[aor][key]
            heapq.heappop(self._due)
        return None


def _order(binding: Binding) -> int:
    return binding.order


def _check_order(binding: Binding, request: Request) -> None:
    # RFC 3261 §10.3 step 7, of the CSeq when the Call-IDs are the same: "If the value is higher than that of the existing
    # binding, it MUST update or remove the binding as above. If not, the update MUST be aborted and the request fails."
    if request.call_id == binding.call_id and request.cseq.number <= binding.cseq:
        raise SipError(500, "REGISTER Out Of Order")


def _shown(binding: Binding, now: float) -> str:
    contact = binding.contact
    if binding.q != 1.0:
        contact = contact.with_param("q", f"{binding.q:.3f}".rstrip("0").removesuffix("."))
    return str(contact.with_param("expires", str(max(1, round(binding.expires_at - now)))))


def _date(wall: float) -> str:
    """Write an RFC 1123 date (RFC 3261 §20.17), in English whatever the locale."""
    at = datetime.fromtimestamp(wall, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} {at:%H:%M:%S} GMT"
