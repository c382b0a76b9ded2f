import os
import resource
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from recordings import capture as module
from recordings import pcapng
from recordings.capture import TOGETHER, Append, Capture, Captures, LeftOut
from recordings.pcapng import Captured, read
from recordings.store import set_up

A, B = ("192.0.2.1", 5004), ("198.51.100.2", 20_000)


def load(path: Path) -> list[Captured]:
    with path.open("rb") as file:
        return list(read(file))


def sections(path: Path) -> int:
    with path.open("rb") as file:
        return sum(kind == pcapng.SECTION_HEADER for _at, kind, _body, _little in pcapng.blocks(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evidence" / "call-1"


def test_packets_and_sip_are_kept_in_order_and_private(folder: Path) -> None:
    sink = Captures().open("call-1", str(folder))
    sink.packet(1, A, B, b"one")
    sink.sip(2, B, A, "tcp", b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    sink.sip(3, B, A, "udp", b"two")
    assert sink.pending == 3
    assert sink.close() == (3, (folder / "call.pcapng").stat().st_size)
    assert load(folder / "call.pcapng") == [
        Captured(1, A, B, b"one"),
        Captured(2, B, A, b"OPTIONS sip:x SIP/2.0\r\n\r\n", ("transport=tcp",)),
        Captured(3, B, A, b"two"),
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "call.pcapng").stat().st_mode) == 0o600


def test_a_flush_is_one_write(folder: Path, monkeypatch) -> None:
    sink = Capture("c", str(folder))
    writes = []
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    for n in range(100):
        sink.packet(n, A, B, b"x" * n)
    sink.flush(sync=False)
    sink.flush(sync=False)
    assert len(writes) == 1
    assert len(load(folder / "call.pcapng")) == 100
    sink.close()


def takes_blocks(sink: Capture) -> bool:
    """Whether packets may come to it as blocks now."""
    return sink.takes_blocks


def blocks(*numbers: int) -> tuple[bytes, int]:
    """Packets as whoever has `Captures.head` writes them."""
    return b"".join(pcapng.encode(n, A, B, b"x" * n) for n in numbers), len(numbers)


def test_blocks_made_elsewhere_stand_behind_what_came_before(folder: Path) -> None:
    sink = Capture("c", str(folder))
    assert takes_blocks(sink)
    sink.sip(1, B, A, "udp", b"INVITE")
    sink.encoded(*blocks(2, 3))
    sink.encoded(b"", 0)
    assert sink.pending == 3
    sink.flush(sync=False)
    sink.encoded(*blocks(4))
    assert sink.close() == (4, (folder / "call.pcapng").stat().st_size)
    assert [(p.at_ns, len(p.data)) for p in load(folder / "call.pcapng")] == [(1, 6), (2, 2), (3, 3), (4, 4)]


def nothing(packets: int, first_ns: int, last_ns: int) -> None:
    """Nothing was dropped."""
    raise AssertionError(packets, first_ns, last_ns)


def appending(data: bytes, packets: int, room: int) -> Append:
    """What writes blocks straight into the file, as far as there is room."""

    def append(file: int, end: int, _left_out: LeftOut) -> tuple[int, int, bytes | None, int] | None:
        if os.fstat(file).st_size != end:
            return None
        written = os.write(file, data[:room])
        return (written, packets, None, 0) if room >= len(data) else (written, packets, data, 28)

    return append


def test_blocks_are_written_straight_when_nothing_is_to_be_written_before(folder: Path) -> None:
    sink = Capture("c", str(folder))
    assert sink.append(appending(*blocks(2, 3), 1000), nothing)
    sink.sip(4, B, A, "udp", b"INVITE")
    assert not sink.append(appending(*blocks(5), 1000), nothing)
    sink.flush(sync=True)
    sink.left_out(5, 1, 2, "gone")
    assert not sink.append(appending(*blocks(5), 1000), nothing), "the next packet carries a comment"
    sink.packet(6, A, B, b"x")
    sink.flush(sync=False)
    assert sink.append(appending(*blocks(7), 1000), nothing)
    with (folder / "call.pcapng").open("ab") as file:
        file.write(b"not ours")
    assert not sink.append(appending(*blocks(8), 1000), nothing), "the file ends elsewhere"
    sink.encoded(*blocks(8))
    assert sink.close()[0] == 6
    assert not sink.append(appending(*blocks(9), 1000), nothing)
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize("room", [0, 59, 60, 61, 119])
def test_what_did_not_go_in_straight_is_written_later(folder: Path, room: int) -> None:
    sink = Capture("c", str(folder))
    data = b"".join(pcapng.encode(n, A, B, b"") for n in (10, 11))
    with pytest.raises(OSError, match="No space"):
        sink.append(appending(data, 2, room), nothing)
    assert not takes_blocks(sink)
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [10, 11][: room // 60]
    sink.flush(sync=False)
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [10, 11]
    assert sink.close()[0] == 2


def test_a_loss_is_stated_in_a_packet_of_its_own_writing(folder: Path) -> None:
    sink = Capture("c", str(folder))
    sink.left_out(5, 1, 2, "gone")
    assert not takes_blocks(sink), "the next packet carries a comment"
    sink.packet(3, A, B, b"x")
    sink.flush(sync=False)
    assert takes_blocks(sink)
    sink.close()
    (packet,) = load(folder / "call.pcapng")
    assert "5 packets" in packet.comments[0]


@pytest.mark.parametrize("room", [0, 50, 59, 60, 61, 119, 150, 179])
@pytest.mark.parametrize("before", [0, 1])
def test_blocks_that_find_the_disk_full_are_written_later(
    folder: Path, monkeypatch, room: int, before: int
) -> None:
    sink = Capture("c", str(folder))
    for number in range(before):
        sink.packet(number, A, B, b"")  # a block of 60 bytes, as all here
    sink.encoded(b"".join(pcapng.encode(n, A, B, b"") for n in (10, 11)), 2)
    sink.encoded(pcapng.encode(12, A, B, b""), 1)
    real, left = os.write, [room]

    def write(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = real(fd, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(module.os, "write", write)
    with pytest.raises(OSError, match="No space"):
        sink.flush(sync=False)
    assert not takes_blocks(sink)
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [*range(before), 10, 11, 12][: room // 60]
    assert sink.pending == 3 + before - room // 60
    monkeypatch.undo()
    sink.packet(13, A, B, b"")
    sink.flush(sync=False)
    assert takes_blocks(sink)
    assert sink.close()[0] == 4 + before
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [*range(before), 10, 11, 12, 13]


def test_close_is_final_and_harmless_twice(folder: Path) -> None:
    sink = Capture("c", str(folder))
    sink.packet(1, A, B, b"x")
    assert sink.close() == sink.close()
    sink.packet(2, A, B, b"too late")
    sink.flush(sync=True)
    assert len(load(folder / "call.pcapng")) == 1


def test_continuing_adds_a_section(folder: Path) -> None:
    for n in (1, 2):
        sink = Capture("c", str(folder))
        sink.packet(n, A, B, b"x")
        sink.close()
    assert sections(folder / "call.pcapng") == 2
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [1, 2]


def test_a_torn_block_is_removed_and_stated(folder: Path) -> None:
    sink = Capture("c", str(folder))
    sink.packet(1, A, B, b"whole")
    sink.close()
    path = folder / "call.pcapng"
    with path.open("ab") as file:
        file.write(pcapng.encode(2, A, B, b"torn")[:-5])
    sink = Capture("c", str(folder))
    sink.packet(3, A, B, b"next")
    sink.close()
    assert [p.data for p in load(path)] == [b"whole", b"next"]
    assert b"59 bytes of an unfinished block removed" in path.read_bytes()


def test_a_capture_broken_in_the_middle_is_put_aside_uncut(folder: Path) -> None:
    sink = Capture("c", str(folder))
    for n in range(5):
        sink.packet(n, A, B, b"x" * 100)
    sink.close()
    path = folder / "call.pcapng"
    data = bytearray(path.read_bytes())
    data[-321] ^= 0xFF  # the length behind the third of five blocks
    for n in (1, 2):
        path.write_bytes(data)
        sink = Capture("c", str(folder))
        sink.packet(9, A, B, b"goes on")
        sink.close()
        assert (folder / f"call-damaged-{n}.pcapng").read_bytes() == data
        assert [p.data for p in load(path)] == [b"goes on"]


def test_two_writers_are_refused(folder: Path) -> None:
    sink = Capture("c", str(folder))
    with pytest.raises(BlockingIOError):
        Capture("c", str(folder))
    sink.close()
    Capture("c", str(folder)).close()


def test_a_link_is_not_followed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "call.pcapng").symlink_to("/dev/null")
    with pytest.raises(OSError, match="symbolic links"):
        Capture("c", str(folder))


def test_a_full_disk_leaves_whole_blocks_and_loses_nothing_once_it_has_room(folder: Path) -> None:
    sink = Capture("c", str(folder))
    path = folder / "call.pcapng"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (path.stat().st_size + 1000, hard)
    )  # a real short write, then an error
    try:
        for n in range(10):
            sink.packet(n, A, B, b"x" * 200)
        with pytest.raises(OSError, match="too large"):
            sink.flush(sync=True)
        assert [p.at_ns for p in load(path)] == [0, 1, 2], "what fits is kept"
        with pytest.raises(OSError, match="too large"):
            sink.flush(sync=False)
        sink.packet(10, A, B, b"later")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sink.flush(sync=True)
    assert [p.at_ns for p in load(path)] == list(range(11))
    assert sink.close()[0] == 11
    assert sink.lost == 0


def test_what_had_to_go_is_stated(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 1000)
    sink = Capture("c", str(folder))
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", full)
    for n in range(20):
        sink.packet(1_700_000_000_000_000_000 + n * 1_000_000_000, A, B, b"x" * 100)
        with pytest.raises(OSError, match="No space"):
            sink.flush(sync=False)
    assert sink.lost == 10
    assert sink.pending == 10, "memory is bounded"
    monkeypatch.setattr(module.os, "write", real)
    sink.close()
    first, second, *_rest = load(folder / "call.pcapng")
    span = "from 2023-11-14T22:13:20.000+00:00 to 2023-11-14T22:13:29.000+00:00"
    assert first.comments == (f"not recorded: 10 packets {span}: No space left on device",)
    assert second.comments == ()


def test_a_cut_that_fails_is_made_up_for_at_the_next_flush(folder: Path, monkeypatch) -> None:
    sink = Capture("c", str(folder))
    real_write, real_cut = os.write, os.ftruncate
    calls = []

    def half(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        return real_write(fd, data[:10])

    def no_cut(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "write", half)
    monkeypatch.setattr(module.os, "ftruncate", no_cut)
    sink.packet(1, A, B, b"x")
    with pytest.raises(OSError, match="Input/output"):
        sink.flush(sync=False)
    monkeypatch.setattr(module.os, "write", real_write)
    monkeypatch.setattr(module.os, "ftruncate", real_cut)
    sink.packet(2, A, B, b"y")
    sink.close()
    assert [p.at_ns for p in load(folder / "call.pcapng")] == [1, 2]


def test_close_gives_the_file_back_even_if_the_disk_refuses(folder: Path, monkeypatch) -> None:
    sink = Capture("c", str(folder))

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        sink.close()
    monkeypatch.undo()
    Capture("c", str(folder)).close()  # its lock is gone


def test_a_sip_message_no_datagram_holds_is_cut_into_parts(folder: Path) -> None:
    message = os.urandom(150_000)
    sink = Capture("c", str(folder))
    sink.sip(1, A, B, "tcp", message)
    sink.close()
    parts = load(folder / "call.pcapng")
    assert b"".join(part.data for part in parts) == message
    assert [part.comments for part in parts] == [(f"transport=tcp part={n}/3",) for n in (1, 2, 3)]


def test_appending_while_others_flush_and_sync_loses_nothing(folder: Path) -> None:
    sink = Capture("c", str(folder))
    done = threading.Event()
    errors: list[BaseException] = []

    def flusher(sync: bool) -> None:
        try:
            while not done.is_set():
                sink.flush(sync=sync)
        except BaseException as error:  # noqa: BLE001  handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=flusher, args=(sync,)) for sync in (False, True)]
    for thread in threads:
        thread.start()
    for n in range(30_000):
        sink.packet(n, A, B, b"x" * (n % 50))
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert sink.close()[0] == 30_000
    assert [p.at_ns for p in load(folder / "call.pcapng")] == list(range(30_000))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is the judge here")
def test_tshark_sees_ladder_and_streams(folder: Path) -> None:
    from tests.kit.evidence import CALLER, OK, SIP_CALLER, SIP_US, US_CALLER_AUDIO, SyntheticCall
    from tests.kit.rtp_media import sound

    call = SyntheticCall(folder)
    call.signalling("PCMA", None)
    call.sip.append((3.0, SIP_CALLER, SIP_US, "tcp", OK % 0))
    call.caller_sound(sound("PCMA", 440, 2.0, ssrc=0x1234ABCD)[:-1])
    call.write()
    path = str(folder / "call.pcapng")

    def tshark(*options: str) -> str:
        return subprocess.run(
            ["tshark", "-n", "-q", "-r", path, *options], capture_output=True, text=True, check=True
        ).stdout

    streams = [line.split() for line in tshark("-z", "rtp,streams").splitlines() if "0x1234ABCD" in line]
    assert len(streams) == 1
    assert CALLER[0] in streams[0]
    assert str(US_CALLER_AUDIO[1]) in streams[0]
    assert "99" in streams[0], "packets"
    statistics = tshark("-z", "sip,stat")
    assert "Number of SIP messages: 3" in statistics
    assert "INVITE" in statistics
    assert "200 OK" in statistics
    ladder = subprocess.run(
        ["tshark", "-n", "-r", path, "-Y", "sip", "-T", "fields", "-e", "sip.Method", "-e", "sip.Status-Code",
         "-e", "sdp.media.port", "-e", "frame.comment"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert ladder == ["INVITE\t\t40000\t", "\t200\t20000\t", "\t200\t\ttransport=tcp"]


def test_packets_dropped_before_they_came_are_stated_by_the_next_one(folder: Path) -> None:
    sink = Captures().open("call-1", str(folder))
    sink.left_out(3, 10**9, 2 * 10**9, "flood")
    sink.left_out(2, 2 * 10**9, 3 * 10**9, "flood")
    sink.packet(4 * 10**9, A, B, b"one")
    sink.close()
    (captured,) = load(folder / "call.pcapng")
    assert len(captured.comments) == 1
    assert captured.comments[0].startswith("not recorded: 5 packets from 1970-01-01")
    assert captured.comments[0].endswith("flood")


def test_packets_dropped_at_the_end_are_stated_there(folder: Path) -> None:
    sink = Captures().open("call-1", str(folder))
    sink.packet(1, A, B, b"one")
    sink.flush(sync=False)
    sink.left_out(3, 10**9, 2 * 10**9, "flood")
    _, size = sink.close()
    path = folder / "call.pcapng"
    assert size == path.stat().st_size
    assert len(load(path)) == 1
    assert b"not recorded: 3 packets" in path.read_bytes()


# --- many at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "works"), [(TOGETHER - 1, True), (TOGETHER, True), (TOGETHER, False)])
def test_many_captures_are_synced_at_once_and_few_or_failing_ones_by_themselves(
    tmp_path, monkeypatch, count, works
):
    asked = []
    monkeypatch.setattr(module, "sync_filesystem", lambda file: asked.append(file) or works)
    folders = []
    monkeypatch.setattr(module, "sync_folder", folders.append)
    captures = [Captures().open(f"call-{n}", str(tmp_path / f"call-{n}")) for n in range(count)]
    at_once = count == TOGETHER and works
    assert Captures().sync(captures) is at_once
    assert len(asked) == (count == TOGETHER)
    for capture in captures:
        capture.close()
    assert len(folders) == (0 if at_once else count), "the names of new files are on the disk with them"
    assert not captures[0].sync_filesystem(), "it is closed"


def test_what_is_sealed_is_not_opened_again(tmp_path):
    """A media process that was waited for too long comes after the recorder: what it has would not fit the seal."""
    folder = tmp_path / "call"
    capture = Captures().open("call", str(folder))
    capture.close()
    (folder / "manifest.json").write_text("{}")
    before = (folder / "call.pcapng").read_bytes()
    with pytest.raises(OSError, match="sealed already"):
        Captures().open("call", str(folder))
    assert (folder / "call.pcapng").read_bytes() == before


def test_no_capture_is_opened_beneath_a_mount_point(tmp_path):
    store = set_up(tmp_path / "evidence", tmp_path)
    captures = Captures(store.check)
    captures.open("one", str(tmp_path / "evidence" / "one")).close()
    (tmp_path / "evidence").rename(tmp_path / "aside")
    (tmp_path / "evidence").mkdir()
    with pytest.raises(OSError, match="is its disk mounted"):
        captures.open("two", str(tmp_path / "evidence" / "two"))
    assert list((tmp_path / "evidence").iterdir()) == []
