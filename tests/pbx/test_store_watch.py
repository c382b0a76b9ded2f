"""Signalling knows whether the evidence folder is there."""

import structlog

from pbx.store_watch import StoreWatch
from recordings.store import MARK_NAME, set_up


def test_it_is_said_once_when_the_folder_goes_and_when_it_is_back(tmp_path):
    store = set_up(tmp_path / "evidence", tmp_path)
    watch = StoreWatch(store)
    mark = (tmp_path / "evidence" / MARK_NAME).read_bytes()
    with structlog.testing.capture_logs() as told:
        watch.look()
        assert watch.there
        (tmp_path / "evidence" / MARK_NAME).unlink()
        watch.look()
        watch.look()
        assert not watch.there
        (tmp_path / "evidence" / MARK_NAME).write_bytes(mark)
        watch.look()
        watch.look()
        assert watch.there
    assert [line["event"] for line in told] == ["evidence_store_missing", "evidence_store_back"]


def test_its_thread_ends_when_it_is_told_to(tmp_path):
    watch = StoreWatch(set_up(tmp_path / "evidence", tmp_path))
    watch.start()
    watch.close()
    watch._thread.join(10)
    assert not watch._thread.is_alive()
