import json
from typing import Literal

import pytest

from tests.bench.figures import Figure, as_json, median, quantile, rounded, table


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert quantile(values, 0.99) == 99.0
    assert quantile(values, 0.5) == 50.0
    assert quantile(values, 1.0) == 100.0
    assert quantile([7.0], 0.0) == 7.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_median_is_in_the_middle() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    with pytest.raises(ValueError, match="no values"):
        median([])


@pytest.mark.parametrize(
    ("value", "better", "ok"),
    [
        (2.0, "less", True),
        (2.01, "less", False),
        (2.0, "more", True),
        (1.99, "more", False),
        (None, "less", False),
    ],
)
def test_a_bar_is_met_or_missed(value: float | None, better: Literal["less", "more"], ok: bool) -> None:
    assert Figure("Q1", "x", value, "×", 2.0, better).ok is ok
    assert Figure("Q1", "x", value, "×", None, better).ok is None


def test_a_row_is_as_good_as_its_worst_figure() -> None:
    figures = [
        Figure("Q3.first", "first", 5.0, "ms", 10.0),
        Figure("Q3.answer", "answer", 60.0, "ms", 50.0),
        Figure("Q3.told", "told", 1.0, "ms"),
        Figure("Q1", "ratio", 1.23456, "×", 2.0),
    ]
    found = json.loads(as_json(figures))
    assert found["Q3"] == {"value": 60.0, "bar": 50.0, "unit": "ms", "ok": False, "what": "answer"}
    assert found["Q1"] == {"value": 1.235, "bar": 2.0, "unit": "×", "ok": True, "what": "ratio"}
    assert found["Q3.told"]["ok"] is None
    assert set(found) == {"Q1", "Q3", "Q3.first", "Q3.answer", "Q3.told"}


def test_what_could_not_be_measured_is_worse_than_anything() -> None:
    figures = [Figure("Q6.a", "a", 99.0, "ms", 1.0), Figure("Q6.b", "b", None, "ms", 1.0, note="no compiler")]
    found = json.loads(as_json(figures))
    assert found["Q6"] == {
        "value": None,
        "bar": 1.0,
        "unit": "ms",
        "ok": False,
        "what": "b",
        "note": "no compiler",
    }


def test_more_than_a_bar_asks_for_is_no_miss() -> None:
    figures = [
        Figure("Q6.rate", "rate", 400.0, "calls/s", 300.0, "more"),
        Figure("Q6.cpu", "cpu", 1.9, "ms", 2.0),
    ]
    assert json.loads(as_json(figures))["Q6"]["what"] == "cpu"


def test_the_table_tells_value_bar_and_verdict() -> None:
    lines = table(
        [
            Figure("Q1", "ratio", 2.5, "×", 2.0, note="Python engine"),
            Figure("Q6.rate", "rate", 300.0, "calls/s", 300.0, "more"),
            Figure("Q1.lost", "  lost", None, "%"),
        ]
    ).split("\n")
    assert lines[1].split("  ")[0] == "Q1"
    assert "2.5 ×" in lines[1]
    assert lines[1].endswith("MISSED")
    assert "(Python engine)" in lines[1]
    assert "≥ 300 calls/s" in lines[2]
    assert lines[2].endswith("ok")
    assert lines[3].endswith("–")


def test_figures_have_four_digits() -> None:
    assert rounded(1234.56) == 1235.0
    assert rounded(0.000123456) == 0.0001235
    assert rounded(None) is None
