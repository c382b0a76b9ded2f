import os
from pathlib import Path

import pytest

from recordings.folder import make_private_folder, sync_filesystem


def test_a_folder_and_those_above_it_are_made_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    assert make_private_folder(folder)
    for made in (folder, folder.parent, folder.parent.parent):
        assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o755)
    (folder / "file").touch()
    assert not make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert not make_private_folder(Path("/"))


def test_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not make_private_folder(tmp_path / "link")


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "a")
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "a" / "b")


def test_a_filesystem_is_synced_by_an_open_file_of_it():
    file = os.memfd_create("at110")
    try:
        assert sync_filesystem(file)
    finally:
        os.close(file)
    assert not sync_filesystem(-1)
