"""A dict that remembers what was looked at to change it."""

from pbx.call.marked import Marked


def test_who_only_reads_marks_nothing():
    marked = Marked()
    marked["a"] = [1]
    marked.changed.clear()
    assert marked.peek("a") == [1]
    assert marked.peek("b") is None
    assert list(marked.values()) == [[1]]
    assert marked.changed == set()
    assert marked.get("a") == [1]
    assert marked.changed == {"a"}
