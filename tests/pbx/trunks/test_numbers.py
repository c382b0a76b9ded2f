"""Numbers of China in one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.trunks.numbers import EMERGENCY, Number, fits, is_number, normalise, rewritten
from pbx.trunks.settings import NumberRule

TABLE = [
    ("13800138000", "+8613800138000", "mobile"),
    ("013800138000", "+8613800138000", "mobile"),
    ("+8613800138000", "+8613800138000", "mobile"),
    ("8613800138000", "+8613800138000", "mobile"),
    ("008613800138000", "+8613800138000", "mobile"),
    ("+86-138-0013-8000", "+8613800138000", "mobile"),
    ("13800138000;phone-context=+86", "+8613800138000", "mobile"),
    ("19912345678", "+8619912345678", "mobile"),
    ("01062345678", "+861062345678", "fixed"),
    ("(010) 6234 5678", "+861062345678", "fixed"),
    ("02162345678", "+862162345678", "fixed"),
    ("05356234567", "+865356234567", "fixed"),
    ("+865356234567", "+865356234567", "fixed"),
    ("+8605356234567", "+865356234567", "fixed"),
    ("6234567", "+865356234567", "fixed"),
    ("110", "110", "service"),
    ("119", "119", "service"),
    ("120", "120", "service"),
    ("122", "122", "service"),
    ("0535110", "0535110", "service"),
    ("+86535110", "0535110", "service"),
    ("010119", "010119", "service"),
    ("12345", "12345", "service"),
    ("10086", "10086", "service"),
    ("95588", "95588", "service"),
    ("4008123456", "4008123456", "service"),
    ("+864008123456", "4008123456", "service"),
    ("+447700900123", "+447700900123", "international"),
    ("00447700900123", "+447700900123", "international"),
    ("", "", "withheld"),
    ("anonymous", "", "withheld"),
    ("Anonymous", "", "withheld"),
    ("Unavailable", "", "withheld"),
    ("restricted", "", "withheld"),
    ("12800138000", "12800138000", "other"),
    ("alice", "alice", "other"),
    ("٣٣٣", "٣٣٣", "other"),
]


@pytest.mark.parametrize(("said", "text", "kind"), TABLE)
def test_table(said, text, kind):
    assert normalise(said, area="0535") == Number(text, kind)


def test_no_area_no_guess():
    assert normalise("6234567") == Number("6234567", "other")


def test_nothing_is_withheld():
    assert normalise(None).kind == "withheld"


def test_the_trunks_own_rules_go_first():
    rules = [NumberRule(match="9(1[3-9][0-9]{9})", give=r"\1"), NumberRule(match="x", give="y")]
    assert normalise("913800138000", rules=rules) == Number("+8613800138000", "mobile")
    assert rewritten("x", rules) == "y"
    assert rewritten("xx", rules) == "xx", "a rule fits as a whole or not at all"


def test_the_emergency_numbers_stay():
    assert {normalise(number, area="0535").text for number in EMERGENCY} == EMERGENCY


@pytest.mark.parametrize(
    ("text", "good"), [("+86", True), ("*10#", True), ("", False), ("1\r\n", False), ("١", False)]
)
def test_what_can_be_dialled(text, good):
    assert is_number(text) is good


def test_a_pattern_fits_as_a_whole():
    assert fits("11[09]", "110")
    assert not fits("11[09]", "1100")


@given(st.text(max_size=60))
def test_any_text_gives_a_number_that_stays_as_it_is(said):
    found = normalise(said, area="0535")
    assert len(found.text) <= 40
    if found.kind in ("mobile", "fixed", "service", "international"):
        assert is_number(found.text)
        assert normalise(found.text, area="0535") == found
