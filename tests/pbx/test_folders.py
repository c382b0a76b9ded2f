"""Private folders are ours or refused."""

import pytest

from pbx.folders import make_private


def test_a_folder_is_made_private(tmp_path):
    make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_an_open_folder_is_closed(tmp_path):
    (tmp_path / "a").mkdir(mode=0o755)
    make_private(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_a_link_put_there_by_somebody_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "target")
    with pytest.raises(PermissionError, match="not a folder of ours"):
        make_private(tmp_path / "a")


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    with pytest.raises(PermissionError):
        make_private(tmp_path / "a")
