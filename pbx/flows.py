"""Which flow leads to a phone now (RFC 5626): phones are told by their instance, not by their connection.

in → out: registrations that come and flows that break → `FlowMoved`: what went over the old flow goes over the new one.
So a phone whose connection breaks and that returns as the same instance keeps its dialogs.

Only phones that registered directly are followed. A flow from a proxy belongs to many phones, and one of them going
elsewhere says nothing of the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Any, Final

from pbx.binding import Binding
from pbx.sip.flow import Flow, restore_flow

KEEP_SECONDS: Final = 3600.0
"""How long a phone without any flow is remembered: as long as the longest registration, after which it is not coming
back to a call."""
MAX_LOST: Final = 4
"""Broken flows of one phone that lead to its next one; two networks, each twice."""
MAX_FORGOTTEN: Final = 20_000
"""Phones without a flow that are remembered at most, as many as may register; the oldest is forgotten."""

PhoneKey = tuple[str, str]
"""(address-of-record, instance)"""


@dataclass(frozen=True, slots=True)
class FlowMoved:
    """What went over `old` goes over `new`."""

    old: Flow
    new: Flow


@dataclass(slots=True)
class _Phone:
    flows: dict[str, Flow] = field(default_factory=dict)
    """reg-id → flow, the newest last."""
    lost: list[Flow] = field(default_factory=list)
    until: float = 0.0
    """Monotonic seconds when a phone without flow is forgotten."""


class Flows:
    """All phones that told their instance."""

    def __init__(self) -> None:
        self._phones: dict[PhoneKey, _Phone] = {}
        self._on: dict[Flow, dict[PhoneKey, None]] = {}
        self._homeless: dict[PhoneKey, None] = {}
        """Phones without a flow, the longest so first."""
        self._changed: set[PhoneKey] = set()

    def __len__(self) -> int:
        return len(self._phones)

    def registered(self, binding: Binding, *, direct: bool) -> list[FlowMoved]:
        """Hear that a binding was added or refreshed; `direct`: no proxy stands between."""
        instance = binding.contact.param("+sip.instance")
        if instance is None or not direct:
            return []
        key, reg_id = (binding.aor, instance), binding.contact.param("reg-id") or ""
        phone = self._phones.setdefault(key, _Phone())
        self._homeless.pop(key, None)
        self._changed.add(key)
        new = binding.flow
        # RFC 5626 §6: a registration with the same instance and reg-id replaces the one before, flow and all.
        before = phone.flows.pop(reg_id, None)
        phone.flows[reg_id] = new
        self._on.setdefault(new, {})[key] = None
        moved = [FlowMoved(old, new) for old in phone.lost if old != new]
        phone.lost.clear()
        if before is not None and before != new and before not in phone.flows.values():
            self._leave(key, before)
            moved.append(FlowMoved(before, new))
        return moved

    def failed(self, flow: Flow, now: float) -> list[FlowMoved]:
        """Hear that a flow is broken: its phones are reached over their next newest one, or when they return."""
        moved = []
        for key in sorted(self._on.get(flow, ())):
            phone = self._phones[key]
            self._changed.add(key)
            self._leave(key, flow)
            phone.flows = {reg_id: it for reg_id, it in phone.flows.items() if it != flow}
            if phone.flows:
                moved.append(FlowMoved(flow, list(phone.flows.values())[-1]))
                continue
            phone.lost = [*phone.lost, flow][-MAX_LOST:]
            phone.until = now + KEEP_SECONDS
            self._homeless[key] = None
        self._forget(now)
        return moved

    def removed(self, binding: Binding, now: float) -> None:
        """Hear that a binding ended, because the phone wished so or its time had come."""
        instance = binding.contact.param("+sip.instance")
        key, reg_id = (binding.aor, instance or ""), binding.contact.param("reg-id") or ""
        phone = self._phones.get(key)
        if phone is None or phone.flows.get(reg_id) != binding.flow:
            return
        del phone.flows[reg_id]
        self._changed.add(key)
        if binding.flow not in phone.flows.values():
            self._leave(key, binding.flow)
            if not phone.flows:
                del self._phones[key]
        self._forget(now)

    def reliable(self, flow: Flow) -> Flow | None:
        """Return a flow to the same phone over which long requests may go; None when none is known."""
        for key in sorted(self._on.get(flow, ())):
            for other in reversed(self._phones[key].flows.values()):
                if other.reliable:
                    return other
        return None

    def _leave(self, key: PhoneKey, flow: Flow) -> None:
        there = self._on.get(flow)
        if there is not None:
            there.pop(key, None)
            if not there:
                del self._on[flow]

    def _forget(self, now: float) -> None:
        while self._homeless:
            key = next(iter(self._homeless))
            if self._phones[key].until > now and len(self._homeless) <= MAX_FORGOTTEN:
                return
            del self._homeless[key], self._phones[key]
            self._changed.add(key)

    # --- across a restart -------------------------------------------------------------------------------------------

    def snapshot(self) -> list[Any]:
        """Plain data for `restore`. Texts of phones are bytes: they need not be Unicode."""
        in_order = [key for key in self._phones if key not in self._homeless] + list(self._homeless)
        return [self._packed(key) for key in in_order]

    def _packed(self, key: PhoneKey) -> list[Any]:
        phone = self._phones[key]
        return [
            _bytes(key[0]),
            _bytes(key[1]),
            [[_bytes(reg_id), flow.snapshot()] for reg_id, flow in phone.flows.items()],
            [flow.snapshot() for flow in phone.lost],
            phone.until,
        ]

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Give the phones that came, changed or went since this was asked last, each under a name: for the journal."""
        changed, self._changed = self._changed, set()
        for key in changed:
            name = blake2s(b"\0".join(map(_bytes, key)), digest_size=16).hexdigest()
            yield name, self._packed(key) if key in self._phones else None

    def resume(self, records: Mapping[str, Any]) -> list[Flow]:
        """Take up the phones `changes` told of, the longest without a flow first; return the flows they had."""
        for data in sorted(records.values(), key=lambda data: float(data[4])):
            self._take_up(data)
        return list(self._on)

    @classmethod
    def restore(cls, data: list[Any]) -> "Flows":
        """Undo `snapshot`."""
        self = cls()
        for phone in data:
            self._take_up(phone)
        return self

    def _take_up(self, data: list[Any]) -> None:
        aor, instance, flows, lost, until = data
        key = (_text(aor), _text(instance))
        phone = _Phone(
            {_text(reg_id): restore_flow(flow) for reg_id, flow in flows},
            [restore_flow(flow) for flow in lost],
            until,
        )
        self._phones[key] = phone
        for flow in phone.flows.values():
            self._on.setdefault(flow, {})[key] = None
        if not phone.flows:
            self._homeless[key] = None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
