"""The evidence folder is known again; a mount point without its disk is not taken for it."""

import errno
import json
import os
from pathlib import Path

import pytest

from recordings import store
from recordings.store import MARK_NAME, MEMORY_NAME, Store, mounted_at, remembered, set_up


class Site:
    """A state folder, an evidence folder, and where the filesystem of that is mounted, as the test says."""

    def __init__(self, tmp_path):
        self.state, self.folder = tmp_path / "state", tmp_path / "mnt" / "evidence"
        self.state.mkdir()
        self.mount = tmp_path / "mnt"

    def start(self):
        return set_up(self.folder, self.state, mounts=lambda _folder: self.mount)

    def unmount(self):
        """What unmounting leaves: an empty folder, or none."""
        self.folder.rename(self.state / "elsewhere")
        self.mount = Path("/")

    def mount_again(self):
        if self.folder.exists():
            self.folder.rmdir()
        (self.state / "elsewhere").rename(self.folder)
        self.mount = self.folder.parent


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_the_first_start_makes_and_marks_an_empty_folder(site):
    made = site.start()
    made.check()
    mark = json.loads((site.folder / MARK_NAME).read_text())
    assert mark["store"] == made.id
    assert mark["folder"] == str(site.folder)
    device = site.folder.stat().st_dev
    assert mark["device"] == f"{os.major(device)}:{os.minor(device)}"
    assert (site.folder.stat().st_mode & 0o777, (site.folder / MARK_NAME).stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    assert remembered(site.folder, site.state) == made
    before = (site.folder / MARK_NAME).read_bytes()
    assert site.start() == made
    assert (site.folder / MARK_NAME).read_bytes() == before


def test_a_folder_of_before_the_mark_is_taken_as_it_is(site):
    """An upgrade: evidence of years, and nothing remembered."""
    (site.folder / "20260101-000000-old").mkdir(parents=True)
    made = site.start()
    assert made.there
    assert made.id
    assert sorted(path.name for path in site.folder.iterdir()) == [MARK_NAME, "20260101-000000-old"]


def test_until_it_was_set_up_whatever_is_there_is_taken(site):
    assert remembered(site.folder, site.state) == Store(site.folder, "")
    Store(site.folder, "").check()
    (site.state / MEMORY_NAME).write_text("torn {")
    assert remembered(site.folder, site.state).id == ""


@pytest.mark.parametrize("beneath", ["nothing", "an empty folder", "a folder of another time"])
def test_a_disk_that_is_not_mounted_is_missed_and_nothing_is_made_in_its_place(site, beneath):
    made = site.start()
    site.unmount()
    if beneath != "nothing":
        site.folder.mkdir()
    if beneath == "a folder of another time":
        (site.folder / MARK_NAME).write_text('{"store": "of before the disk was there"}')
    before = sorted(site.folder.iterdir()) if site.folder.exists() else None
    for found in (site.start(), remembered(site.folder, site.state)):
        assert found == made
        assert not found.there
        with pytest.raises(OSError, match="is its disk mounted") as raised:
            found.check()
        assert raised.value.errno == errno.ENODEV
    assert (sorted(site.folder.iterdir()) if site.folder.exists() else None) == before
    if beneath == "a folder of another time":
        (site.folder / MARK_NAME).unlink()
    site.mount_again()
    assert made.there
    assert site.start() == made


def test_another_disk_at_the_same_place_is_a_new_store(site):
    first = site.start()
    site.unmount()
    site.mount = site.folder.parent
    second = site.start()
    assert second.there
    assert second.id != first.id
    assert not first.there
    # And the first one again: disks that are changed in turns.
    (site.folder / MARK_NAME).unlink()
    site.mount_again()
    assert site.start() == first


def test_a_disk_that_is_mounted_over_the_folder_later_is_taken(site):
    site.mount = Path("/")
    first = site.start()
    site.folder.rename(site.state / "beneath")
    site.folder.mkdir()
    site.mount = site.folder
    second = site.start()
    assert second.there
    # Gone again, what was used before is not what is expected now.
    site.folder.rename(site.state / "disk")
    (site.state / "beneath").rename(site.folder)
    site.mount = Path("/")
    assert first.there
    assert not site.start().there


def test_a_folder_that_somebody_emptied_is_marked_anew(site):
    first = site.start()
    (site.folder / MARK_NAME).unlink()
    assert not first.there
    assert site.start().there


def test_another_folder_in_the_settings_is_another_store(site, tmp_path):
    first = site.start()
    site.folder = tmp_path / "other"
    site.mount = Path("/")
    assert site.start().id != first.id
    assert site.start().there


@pytest.mark.parametrize("full", ["evidence", "state"])
def test_a_full_disk_hinders_no_start(site, monkeypatch, full):
    site.start()
    (site.folder / MARK_NAME).unlink()
    (site.state / MEMORY_NAME).unlink()
    write = store.write_atomically

    def refuses(path, data):
        if path.parent == (site.folder if full == "evidence" else site.state):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(store, "write_atomically", refuses)
    assert site.start().there
    assert remembered(site.folder, site.state).there
    monkeypatch.setattr(store, "write_atomically", write)
    made = site.start()
    assert made.there
    assert made.id
    assert remembered(site.folder, site.state) == made


def test_a_folder_that_can_not_be_made_is_the_callers_matter(site):
    site.folder.parent.write_text("a file")
    with pytest.raises(OSError, match="mnt"):
        site.start()


def test_where_a_filesystem_is_mounted(tmp_path):
    assert mounted_at(Path("/proc/self")) == Path("/proc")
    assert mounted_at(Path("/")) == Path("/")
    (tmp_path / "link").symlink_to("/proc")
    assert mounted_at(tmp_path / "link" / "not there") == Path("/proc")
    assert mounted_at(tmp_path / "not" / "there") == mounted_at(tmp_path)


def test_a_mount_point_may_have_any_name(tmp_path):
    names = ["证据 盘", "a\\b\tc", "\udcff"]
    mounts = tmp_path / "mountinfo"
    for name in names:
        written = "".join(f"\\{ord(one):03o}" if one in " \t\n\\" else one for one in f"{tmp_path}/{name}")
        mounts.write_bytes(
            os.fsencode(
                f"22 1 254:0 / / rw - ext4 /dev/vda rw\n31 22 254:1 / {written} rw,noatime shared:1 - ext4 /dev/vdb rw\n"
            )
        )
        assert mounted_at(tmp_path / name / "evidence", mounts) == tmp_path / name
        assert mounted_at(tmp_path, mounts) == Path("/")


@pytest.mark.parametrize("name", ["证据 盘", "\udcff"])
def test_a_store_of_any_name_is_known_again(tmp_path, name):
    evidence, state = tmp_path / name, tmp_path / "state"
    state.mkdir()
    first = set_up(evidence, state)
    assert first.id
    assert set_up(evidence, state) == remembered(evidence, state) == first
    assert first.there
