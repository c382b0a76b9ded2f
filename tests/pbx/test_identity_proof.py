"""A verified identity changes by two persons or not at all; whatever is tried, in any order, at any time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.identity_proof import (
    CHANGE_SECONDS,
    MAX_NAME,
    Asked,
    Check,
    Checked,
    Confirm,
    Confirmed,
    Expired,
    Facts,
    Identity,
    Proof,
    ProofError,
    Withdraw,
    Withdrawn,
)

WANG = Facts("王丽", "13800000001", "a" * 64, "resident-id", "in-person")
LI = Facts("李雷", "13900000001", "b" * 64, "passport", "records")
STAFF = ("8001", "8002", "8003")


def verified():
    identity = Identity("alice")
    identity.receive(Check(WANG, "8001", "c0"), 1.0)
    return identity


def test_the_first_proof_stands_at_once_with_who_and_when():
    identity = Identity("alice")
    assert identity.receive(Check(WANG, "8001", "c0"), 5.0) == [Checked(Proof(WANG, "8001", 5.0))]
    assert identity.proof == Proof(WANG, "8001", 5.0)
    assert identity.next_due is None


@pytest.mark.parametrize("facts", [
    LI,
    Facts("王丽丽", WANG.phone, WANG.document, WANG.kind, WANG.how),
    Facts(WANG.name, "13800000002", WANG.document, WANG.kind, WANG.how),
    Facts(WANG.name, WANG.phone, "c" * 64, WANG.kind, WANG.how),
    Facts(WANG.name, WANG.phone, WANG.document, "passport", WANG.how),
])  # fmt: skip
def test_each_change_waits_for_a_second_person_and_the_old_facts_stand(facts):
    identity = verified()
    (asked,) = identity.receive(Check(facts, "8001", "c1"), 2.0)
    assert isinstance(asked, Asked)
    assert identity.next_due == 2.0 + CHANGE_SECONDS
    with pytest.raises(ProofError, match="same_person"):
        identity.receive(Confirm("c1", "8001"), 3.0)
    with pytest.raises(ProofError, match="own_account"):
        identity.receive(Confirm("c1", "alice"), 3.0)
    with pytest.raises(ProofError, match="no_change"):
        identity.receive(Confirm("c9", "8002"), 3.0)
    assert identity.proof == Proof(WANG, "8001", 1.0)
    assert identity.receive(Confirm("c1", "8002"), 4.0) == [
        Confirmed(Proof(facts, "8002", 4.0, "8001"), asked.change)
    ]
    assert identity.proof == Proof(facts, "8002", 4.0, "8001")
    with pytest.raises(ProofError, match="no_change"):
        identity.receive(Confirm("c1", "8003"), 5.0)


def test_an_open_change_can_not_be_exchanged_but_withdrawn():
    identity = verified()
    identity.receive(Check(LI, "8001", "c1"), 2.0)
    with pytest.raises(ProofError, match="change_open"):
        identity.receive(Check(Facts("鬼", "110", "d" * 64, "other", "remote"), "8003", "c2"), 3.0)
    assert identity.change is not None
    assert identity.change.facts == LI
    (withdrawn,) = identity.receive(Withdraw("c1", "8003"), 4.0)
    assert isinstance(withdrawn, Withdrawn)
    assert (identity.proof, identity.change) == (Proof(WANG, "8001", 1.0), None)


def test_time_ends_a_change_to_the_second():
    identity = verified()
    identity.receive(Check(LI, "8001", "c1"), 2.0)
    assert identity.expire(2.0 + CHANGE_SECONDS - 0.001) == []
    copy = Identity.restore(identity.snapshot())
    with pytest.raises(ProofError, match="no_change"):
        copy.receive(Confirm("c1", "8002"), 2.0 + CHANGE_SECONDS)
    assert copy.proof == Proof(WANG, "8001", 1.0)
    (expired,) = identity.expire(2.0 + CHANGE_SECONDS)
    assert isinstance(expired, Expired)
    assert identity.change is None


def test_nobody_verifies_the_own_account_and_nothing_changes_into_itself():
    with pytest.raises(ProofError, match="own_account"):
        Identity("8001").receive(Check(WANG, "8001", "c0"), 1.0)
    with pytest.raises(ProofError, match="unchanged"):
        verified().receive(Check(Facts(*WANG_TWICE), "8002", "c1"), 2.0)


WANG_TWICE = (WANG.name, WANG.phone, WANG.document, WANG.kind, "records")


@pytest.mark.parametrize("facts", [
    Facts("", "110", "a" * 64, "passport", "records"),
    Facts("x" * (MAX_NAME + 1), "110", "a" * 64, "passport", "records"),
    Facts(" 王", "110", "a" * 64, "passport", "records"),
    Facts("王\n已核实", "110", "a" * 64, "passport", "records"),
    Facts("王\u202e", "110", "a" * 64, "passport", "records"),
    Facts("王\udcff", "110", "a" * 64, "passport", "records"),
    Facts("王", "١١٠", "a" * 64, "passport", "records"),
    Facts("王", "110;x", "a" * 64, "passport", "records"),
    Facts("王", "110", None, "passport", "records"),
    Facts("王", "110", "11010119900307001X", "resident-id", "records"),
    Facts("王", "110", "a" * 64, "library card", "records"),
    Facts("王", "110", "a" * 64, "passport", "hearsay"),
])  # fmt: skip
def test_what_can_not_be_facts(facts):
    identity = Identity("alice")
    with pytest.raises(ProofError, match="bad_facts"):
        identity.receive(Check(facts, "8001", "c0"), 1.0)
    assert identity.proof is None


def test_the_longest_name_is_one():
    assert Facts("x" * MAX_NAME, "110", "a" * 64, "passport", "records").sound()


people = st.sampled_from((*STAFF, "alice"))
changes = st.sampled_from(("c0", "c1", "c2"))
acts = st.one_of(
    st.builds(Check, st.sampled_from((WANG, LI, Facts("张", "120", "e" * 64, "other", "remote"))), people, changes),
    st.builds(Confirm, changes, people),
    st.builds(Withdraw, changes, people),
)  # fmt: skip
waits = st.sampled_from((0.0, 1.0, CHANGE_SECONDS / 2, CHANGE_SECONDS))


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(waits, acts), max_size=25))
def test_no_order_of_acts_lets_one_person_change_what_is_verified(steps):
    identity, now = Identity("alice"), 0.0
    for wait, act in steps:
        now += wait
        before, change = identity.proof, identity.change
        try:
            effects = identity.receive(act, now)
        except ProofError:
            effects = []
            assert identity.proof == before
        if identity.proof != before:
            assert identity.proof is not None, "nothing ends an identity"
            assert act.by != "alice"
            if before is None:
                assert isinstance(act, Check)
            else:
                assert change is not None
                assert isinstance(act, Confirm)
                assert (act.change, now < change.until) == (change.id, True)
                assert identity.proof.facts == change.facts, "what was shown is what took effect"
                assert identity.proof.by == act.by != change.by == identity.proof.asked_by
        else:
            assert not any(isinstance(effect, Checked | Confirmed) for effect in effects)
        assert identity.change is None or identity.next_due == identity.change.until > now
        assert Identity.restore(identity.snapshot()).snapshot() == identity.snapshot()
