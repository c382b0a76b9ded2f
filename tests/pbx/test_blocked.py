"""A block is said with as much as is known of it, in both languages, and never as if the caller were proved to be that person."""

import pytest

from pbx.blocked import Blocked, moment, sentence


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Blocked("8003", 0.0, "40 hoaxes"), "8003, 1970-01-01 00:00 UTC, 40 hoaxes"),
        (Blocked("sql:at110", 60.0), "sql:at110, 1970-01-01 00:01 UTC"),
        (Blocked(), None),
    ],
)
def test_by_whom_when_and_why_as_far_as_it_is_known(block, said):
    zh, en = sentence(block.of("alice"))
    assert en.startswith("the account it names, alice, is blocked" + (f" ({said})" if said else ";"))
    assert zh.startswith("所称账号alice已停用" + (f"（{said.replace(', ', '，')}）" if said else "，"))
    assert "not proved" in en
    assert "照常接警" in zh


def test_no_time_is_no_word():
    assert moment(None) == ""
