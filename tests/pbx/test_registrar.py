"""RFC 3261 §10.3: who stands behind an address-of-record."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.binding import Binding, unpack
from pbx.registrar import (
    MAX_BINDINGS,
    BindingAdded,
    BindingExpired,
    BindingRefreshed,
    BindingRemoved,
    Registrar,
    RegistrarSettings,
)
from pbx.sip.flow import Flow
from pbx.sip.headers import Headers
from pbx.sip.message import Request
from pbx.sip.uri import parse_uri

AOR = "sip:alice@110.example"
WALL = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
UDP = Flow("udp", ("192.0.2.1", 5060), ("203.0.113.9", 40000))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("203.0.113.9", 41000), 7)


def request(*contacts, expires=None, call_id="c1", cseq=1, agent=None):
    fields = [
        ("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK1;rport"),
        ("From", f"<{AOR}>;tag=1"),
        ("To", f"<{AOR}>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} REGISTER"),
        *(("Contact", contact) for contact in contacts),
    ]
    if expires is not None:
        fields.append(("Expires", str(expires)))
    if agent is not None:
        fields.append(("User-Agent", agent))
    return Request("REGISTER", parse_uri("sip:110.example"), Headers(fields))


def register(registrar, *contacts, now=100.0, flow=UDP, aor=AOR, jitter=1.0, **more):
    return registrar.register(
        request(*contacts, **more), flow, aor, now, WALL + now - 100, to_tag="t", jitter=jitter
    )


def contacts(response):
    return [str(contact) for contact in response.contacts]


PHONE = "<sip:alice@10.0.0.5:5060;transport=udp>"


def test_a_phone_registers_and_is_called_where_it_came_from():
    registrar = Registrar()
    response, effects = register(registrar, f"{PHONE};q=0.5", expires=600, agent="phone/1")
    assert response.status == 200
    assert response.to.tag == "t"
    assert contacts(response) == [f"{PHONE};q=0.5;expires=600"]
    assert response.headers.get("Date") == "Fri, 15 Jan 2027 08:00:00 GMT"
    (binding,) = registrar.lookup(AOR, 100.0)
    assert effects == [BindingAdded(binding)]
    assert binding.flow == UDP  # not 10.0.0.5, which is behind a NAT
    assert str(binding.target) == "sip:alice@10.0.0.5:5060;transport=udp"
    assert (binding.expires_at, binding.expires_wall, binding.q) == (700.0, WALL + 600, 0.5)
    assert (binding.call_id, binding.cseq, binding.user_agent) == ("c1", 1, "phone/1")
    assert len(registrar) == 1


def test_fetching_changes_nothing():
    registrar = Registrar()
    register(registrar, PHONE, expires=600)
    response, effects = register(registrar, now=200.4, cseq=2)
    assert (response.status, effects) == (200, [])
    assert contacts(response) == [f"{PHONE};expires=500"]
    assert register(Registrar())[0].contacts == ()


def test_a_refresh_moves_the_binding_to_the_new_flow():
    registrar = Registrar()
    register(registrar, PHONE, expires=600)
    moved = Flow("udp", UDP.local, ("203.0.113.9", 40001))
    _, effects = register(registrar, PHONE, expires=600, cseq=2, now=150.0, flow=moved)
    (binding,) = registrar.lookup(AOR, 150.0)
    assert effects == [BindingRefreshed(binding)]
    assert (binding.flow, binding.expires_at) == (moved, 750.0)
    assert registrar.registered_from(UDP, 150.0) == ()
    assert registrar.registered_from(moved, 150.0) == (AOR,)


def test_the_newest_comes_first():
    registrar = Registrar()
    register(registrar, "<sip:a@h1>", "<sip:a@h2>", expires=600)
    register(registrar, "<sip:a@h1>", expires=600, cseq=2)
    assert [binding.contact.uri.host for binding in registrar.lookup(AOR, 100.0)] == ["h1", "h2"]
    assert registrar.lookup("sip:bob@110.example", 100.0) == ()


@pytest.mark.parametrize(
    ("contact", "expires", "granted"),
    [
        (PHONE, None, 3600),
        (PHONE, 60, 60),
        (PHONE, 3600, 3600),
        (PHONE, 3601, 3600),
        (PHONE, 4294967295, 3600),
        (PHONE, "soon", 3600),
        (f"{PHONE};expires=120", 600, 120),
        (f"{PHONE};expires=x", 600, 3600),
        (f"{PHONE};expires=99999999999", 600, 3600),
    ],
)
def test_the_interval_is_wished_bounded_and_granted(contact, expires, granted):
    response, _ = register(Registrar(), contact, expires=expires)
    assert contacts(response) == [f"{PHONE};expires={granted}"]


@pytest.mark.parametrize(
    ("jitter", "granted"), [(1.0, 3600), (0.0, 3240), (-1.0, 2880), (-9.0, 2880), (9.0, 3600)]
)
def test_jitter_shortens_and_never_lengthens(jitter, granted):
    response, _ = register(Registrar(), PHONE, expires=3600, jitter=jitter)
    assert contacts(response) == [f"{PHONE};expires={granted}"]


@pytest.mark.parametrize("seconds", [1, 59])
def test_too_brief_an_interval_is_refused_whole(seconds):
    registrar = Registrar()
    response, effects = register(registrar, "<sip:a@h1>", f"{PHONE};expires={seconds}", expires=600)
    assert (response.status, effects, len(registrar)) == (423, [], 0)
    assert response.headers.get("Min-Expires") == "60"


def test_a_minimum_above_one_hour_refuses_nothing_of_one_hour():
    # RFC 3261 §10.3 step 7: only wishes "smaller than one hour" may be refused
    registrar = Registrar(RegistrarSettings(min_expires=7200, max_expires=7200))
    assert register(registrar, PHONE, expires=3600)[0].status == 200
    assert register(registrar, PHONE, expires=3599, cseq=2)[0].status == 423


def test_zero_removes_one_binding_and_forgives_an_unknown_one():
    registrar = Registrar()
    register(registrar, "<sip:a@h1>", "<sip:a@h2>", expires=600)
    (first, second) = reversed(registrar.lookup(AOR, 100.0))
    response, effects = register(
        registrar, "<sip:a@h1>;expires=0", "<sip:a@h3>;expires=0", expires=600, cseq=2
    )
    assert effects == [BindingRemoved(first, "asked")]
    assert registrar.lookup(AOR, 100.0) == (second,)
    assert contacts(response) == ["<sip:a@h2>;expires=600"]


def test_a_star_removes_all_and_only_with_expires_zero():
    registrar = Registrar()
    register(registrar, "<sip:a@h1>", "<sip:a@h2>", expires=600)
    assert register(registrar, "*", cseq=2)[0].status == 400
    assert register(registrar, "*", expires=1, cseq=2)[0].status == 400
    assert register(registrar, "*", PHONE, expires=0, cseq=2)[0].status == 400
    assert len(registrar) == 2
    response, effects = register(registrar, "*", expires=0, cseq=2)
    assert (response.status, contacts(response), len(registrar)) == (200, [], 0)
    assert [effect.why for effect in effects] == ["asked", "asked"]
    assert registrar.next_due is None


@pytest.mark.parametrize("contact", [(PHONE,), (f"{PHONE};expires=0",), ("<sip:new@h>", PHONE), ("*",)])
@pytest.mark.parametrize("cseq", [4, 5])
def test_an_older_request_of_the_same_call_id_changes_nothing(contact, cseq):
    registrar = Registrar()
    register(registrar, PHONE, expires=600, cseq=5)
    before = registrar.snapshot()
    response, effects = register(registrar, *contact, expires=0 if contact == ("*",) else 300, cseq=cseq)
    assert (response.status, effects) == (500, [])
    assert registrar.snapshot() == before


def test_another_call_id_is_another_story():
    registrar = Registrar()
    register(registrar, PHONE, expires=600, cseq=5)
    assert register(registrar, PHONE, expires=300, cseq=1, call_id="c2")[0].status == 200
    assert registrar.lookup(AOR, 100.0)[0].call_id == "c2"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("<sip:a@HOST;TRANSPORT=tcp>", "<sip:a@host;transport=TCP>", True),
        ("<sip:%61@h>", '"A" <sip:a@h>;x=y', True),
        ("<sip:a@h;x=1;y=2>", "<sip:a@h;y=2;x=1>", True),
        ("<sip:a@h>", "<sip:A@h>", False),
        ("<sip:a@h>", "<sip:a@h:5060>", False),
        ("<sip:a@h>", "<sips:a@h>", False),
        ("<sip:a@h;line=1>", "<sip:a@h;line=2>", False),
        ("<sip:%00@h>", "<sip:%00%00@h>", False),  # RFC 4475 §3.1.1.4
        (
            '<sip:a@h1>;+sip.instance="<urn:uuid:1>";reg-id=1',
            '<sip:a@h2>;reg-id=1;+sip.instance="<urn:uuid:1>"',
            True,
        ),
        (
            '<sip:a@h1>;+sip.instance="<urn:uuid:1>";reg-id=1',
            '<sip:a@h1>;+sip.instance="<urn:uuid:2>";reg-id=1',
            False,
        ),
        ('<sip:a@h1>;+sip.instance="<urn:uuid:1>"', '<sip:a@h2>;+sip.instance="<urn:uuid:1>"', False),
    ],
)
def test_two_contacts_are_one_phone_or_two(one, other, same):
    registrar = Registrar()
    register(registrar, one, expires=600)
    register(registrar, other, expires=600, cseq=2)
    assert len(registrar) == (1 if same else 2)


def test_parameters_of_the_contact_and_of_its_uri_stay_apart():
    # RFC 4475 §3.3.12 and §3.3.13
    response, _ = register(Registrar(), "sip:+19725552222@gw1.example.net;unknownparam", expires=600)
    assert contacts(response) == ["<sip:+19725552222@gw1.example.net>;unknownparam;expires=600"]
    response, _ = register(Registrar(), "<sip:+19725552222@gw1.example.net;unknownparam>", expires=600)
    assert contacts(response) == ["<sip:+19725552222@gw1.example.net;unknownparam>;expires=600"]


def test_headers_in_a_contact_are_kept_shown_and_never_obeyed():
    # RFC 4475 §3.3.14
    registrar = Registrar()
    response, _ = register(registrar, "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>", expires=600)
    assert contacts(response) == ["<sip:user@example.com?Route=%3Csip:sip.example.com%3E>;expires=600"]
    assert str(registrar.lookup(AOR, 100.0)[0].target) == "sip:user@example.com"


@pytest.mark.parametrize(
    "contact",
    [
        "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        "<mailto:a@h>",
        "<tel:110>",
        "<sip:>",
        "<sip:a@h",
        "<>",
    ],
)
def test_a_contact_that_can_not_be_called_is_a_bad_request(contact):
    registrar = Registrar()
    assert register(registrar, contact, expires=600)[0].status == 400
    assert len(registrar) == 0


def test_ten_phones_are_enough_and_the_eleventh_replaces_the_oldest():
    registrar = Registrar()
    assert register(registrar, *(f"<sip:a@h{n}>" for n in range(MAX_BINDINGS)), expires=600)[0].status == 200
    response, effects = register(registrar, "<sip:a@new>", expires=600, cseq=2)
    assert response.status == 200
    assert [type(effect) for effect in effects] == [BindingAdded, BindingRemoved]
    assert (effects[1].why, effects[1].binding.contact.uri.host) == ("evicted", "h0")
    assert len(registrar) == MAX_BINDINGS
    too_many = (f"<sip:b@h{n}>" for n in range(MAX_BINDINGS + 1))
    assert register(registrar, *too_many, expires=600, cseq=3)[0].status == 400


def test_a_broken_connection_takes_its_phones_along():
    registrar = Registrar()
    register(registrar, "<sip:a@tcp>", expires=600, flow=TCP)
    register(registrar, "<sip:a@udp>", expires=600, cseq=2)
    (effect,) = registrar.flow_failed(TCP)
    assert (effect.why, effect.binding.contact.uri.host) == ("flow_failed", "tcp")
    assert [binding.flow for binding in registrar.lookup(AOR, 100.0)] == [UDP]
    assert registrar.flow_failed(TCP) == []


def test_several_accounts_may_share_a_flow():
    registrar = Registrar()
    register(registrar, PHONE, expires=600)
    register(registrar, PHONE, expires=60, aor="sip:bob@110.example")
    assert registrar.registered_from(UDP, 100.0) == (AOR, "sip:bob@110.example")
    assert registrar.registered_from(UDP, 160.0) == (AOR,)


def test_bindings_end_when_their_time_has_come():
    registrar = Registrar()
    register(registrar, "<sip:a@h1>;expires=60", "<sip:a@h2>;expires=120")
    assert registrar.next_due == 160.0
    assert registrar.expire(159.9) == []
    assert [binding.contact.uri.host for binding in registrar.lookup(AOR, 160.0)] == [
        "h2"
    ]  # before it is swept
    (effect,) = registrar.expire(160.0)
    assert isinstance(effect, BindingExpired)
    assert effect.binding.contact.uri.host == "h1"
    register(registrar, "<sip:a@h2>;expires=600", cseq=2, now=170.0)
    assert registrar.next_due == 770.0  # the entry of 220.0 is outdated
    assert registrar.expire(220.0) == []
    assert len(registrar.expire(770.0)) == 1
    assert registrar.next_due is None
    assert len(registrar) == 0


def test_refreshing_for_ever_does_not_grow_the_timer_heap():
    registrar = Registrar()
    for number in range(1, 2000):
        register(registrar, PHONE, expires=600, cseq=number)
    assert len(registrar._due) <= 2 + 64 + 1
    assert registrar.next_due == 700.0


def test_torture_messages_are_registered_as_they_are():
    # RFC 4475 §3.1.1.4 and bytes that are no Unicode survive a restart
    registrar = Registrar()
    register(
        registrar,
        "<sip:%00@host5.example.com>",
        "<sip:%00%00@host5.example.com>",
        expires=600,
        agent="\udcff\x00",
    )
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(registrar.snapshot()))
    restored = Registrar.restore(data)
    assert restored.lookup(AOR, 100.0) == registrar.lookup(AOR, 100.0)
    assert len(restored) == 2


@pytest.mark.parametrize(
    "data", [{}, {"order": "x", "bindings": []}, {"order": 1, "bindings": [{}]}, {"order": 1, "bindings": 3}]
)
def test_a_snapshot_of_something_else_is_refused(data):
    with pytest.raises(ValueError, match="snapshot"):
        Registrar.restore(data)
    with pytest.raises(ValueError, match="binding"):
        unpack(data)


def test_the_machine_reads_no_clock_and_no_chance():
    for module in ("registrar", "binding", "identity", "targets", "sdp/description", "sdp/offer_answer"):
        source = (Path(__file__).parents[2] / "pbx" / f"{module}.py").read_text()
        for name in ("time", "random", "secrets", "asyncio", "socket", "logging"):
            assert f"import {name}\n" not in source
            assert f"from {name} import" not in source


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["register", "register", "register", "fetch", "star", "expire", "fail"]),
        st.lists(
            st.tuples(st.sampled_from(["h1", "h2", "h3"]), st.sampled_from([None, 0, 30, 60, 120, 4000])),
            max_size=3,
        ),
        st.sampled_from(["sip:a@x", "sip:b@x"]),
        st.sampled_from([UDP, TCP]),
        st.sampled_from(["c1", "c2"]),
        st.floats(0, 90),
        st.floats(-1, 1),
    ),
    max_size=40,
)


def run(registrar, steps, now=100.0, cseq=0):
    """Play the steps; return what came out, and what the effects alone say is registered."""
    out, followed = [], {}
    for verb, wishes, aor, flow, call_id, wait, jitter in steps:
        now, cseq = now + wait, cseq + 1
        if verb == "expire":
            effects = registrar.expire(now)
        elif verb == "fail":
            effects = registrar.flow_failed(flow)
        else:
            wanted = [f"<sip:p@{host}>" + ("" if e is None else f";expires={e}") for host, e in wishes]
            asked = ["*"] if verb == "star" else wanted if verb == "register" else []
            message = request(*asked, expires=0 if verb == "star" else None, call_id=call_id, cseq=cseq)
            response, effects = registrar.register(message, flow, aor, now, WALL, to_tag="t", jitter=jitter)
            out.append(response.encode())
        for effect in effects:
            key = (effect.binding.aor, effect.binding.contact.uri.host)
            if isinstance(effect, BindingAdded | BindingRefreshed):
                assert (key in followed) is isinstance(effect, BindingRefreshed)
                followed[key] = effect.binding
            else:
                assert followed.pop(key) == effect.binding
        assert len(registrar) == len(followed)
        due = min((binding.expires_at for binding in followed.values()), default=None)
        assert registrar.next_due == due
        for name in ("sip:a@x", "sip:b@x"):
            live = [b for b in followed.values() if b.aor == name and b.expires_at > now]
            assert registrar.lookup(name, now) == tuple(sorted(live, key=lambda b: -b.order))
        assert set(registrar.registered_from(flow, now)) == {
            b.aor for b in followed.values() if b.flow == flow and b.expires_at > now
        }
        out.append(effects)
    return out


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_effects_tell_the_database_the_whole_truth(steps):
    run(Registrar(), steps)


@settings(deadline=None, max_examples=150)
@given(STEPS, STEPS)
def test_a_restored_registrar_goes_on_as_the_one_it_was_taken_from(before, after):
    original = Registrar()
    for verb, wishes, aor, flow, call_id, wait, jitter in before:
        if verb == "register":
            wanted = [f"<sip:p@{host}>" + ("" if e is None else f";expires={e}") for host, e in wishes]
            original.register(
                request(*wanted, call_id=call_id), flow, aor, 100 + wait, WALL, to_tag="t", jitter=jitter
            )
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(original.snapshot()))
    restored = Registrar.restore(data)
    assert restored.snapshot() == original.snapshot()

    def play(registrar):
        out = [registrar.next_due, registrar.expire(150.0)]
        for number, (verb, wishes, aor, flow, call_id, wait, jitter) in enumerate(after, 2):
            wanted = [f"<sip:p@{host}>" + ("" if e is None else f";expires={e}") for host, e in wishes]
            if verb == "fail":
                out.append(registrar.flow_failed(flow))
                continue
            message = request(*wanted, call_id=call_id, cseq=number)
            response, effects = registrar.register(
                message, flow, aor, 200 + wait, WALL, to_tag="t", jitter=jitter
            )
            out.append((response.encode(), effects, registrar.expire(200 + wait), registrar.next_due))
        return out

    assert play(restored) == play(original)


def test_a_binding_is_a_value():
    registrar = Registrar()
    register(registrar, PHONE, expires=600)
    (binding,) = registrar.lookup(AOR, 100.0)
    assert isinstance(binding, Binding)
    with pytest.raises(AttributeError):
        binding.cseq = 2
