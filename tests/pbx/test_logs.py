"""Lines of JSON without secrets, whatever the disk does."""

import io
import json
import logging

import pytest
import structlog

from pbx.logs import MASK, Sink, configure, mask


@pytest.fixture(autouse=True)
def _as_before():
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h).__module__ == "pbx.logs"]:
        root.removeHandler(handler)


@pytest.fixture
def lines():
    """Give what was logged so far, decoded."""
    stream = io.StringIO()
    configure("signalling", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_event_fields_level_time_and_process(lines):
    structlog.get_logger().info("leg_answered", leg="l1", ms=3)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "leg_answered", "leg": "l1", "ms": 3, "level": "info", "process": "signalling"}


def test_what_a_phone_sent_stays_one_line_and_decodable(lines):
    structlog.get_logger().info("odd", text='a\n{"event":"forged"}\x00\udcff', data=b"\xff\x1b[31m")
    (line,) = lines()
    assert line["text"] == 'a\n{"event":"forged"}\ufffd\ufffd'
    assert line["data"] == "\ufffd\x1b[31m"


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "user_password", "digest", "authorization", "Proxy-Authorization", "key", "private_key", "keys",
     "ha1", "ha1_md5", "ha1_sha256", "nonce", "cnonce", "body", "token", "api_token", "cookie", "secret"],
)  # fmt: skip
def test_secret_fields_are_masked_at_any_depth(name):
    event = {
        name: "s3cret",
        "deep": {name: "s3cret", "list": [{name: ["s3cret"]}]},
        "pair": ({name: "s3cret"},),
    }
    shown = mask(None, "info", event)
    assert "s3cret" not in str(shown)
    assert shown[name] == MASK


@pytest.mark.parametrize(
    "name", ["monkey", "keyframes", "nobody", "bodies", "event", "user", "ha10", "digests_seen"]
)
def test_other_fields_are_not(name):
    assert mask(None, "info", {name: "x"}) == {name: "x"}


def test_an_exception_carries_its_traceback_in_the_line(lines):
    try:
        int("inside")
    except ValueError:
        structlog.get_logger().exception("fault")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]
    assert line["level"] == "error"


def test_warnings_of_libraries_become_lines_too(lines):
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("not this one")
    (line,) = lines()
    assert (line["event"], line["logger"], line["text"]) == ("library_log", "asyncio", "slow callback")


def test_setting_up_twice_does_not_double_lines(lines):
    second = io.StringIO()
    configure("media", stream=second)
    logging.getLogger("asyncio").warning("once")
    structlog.get_logger().info("twice")
    assert lines() == []
    assert [json.loads(line)["process"] for line in second.getvalue().splitlines()] == ["media", "media"]


def test_levels_below_are_left_out():
    stream = io.StringIO()
    configure("x", stream=stream, level=logging.WARNING)
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_the_file_is_turned_over_when_full_and_only_some_are_kept(tmp_path):
    path = tmp_path / "x.log"
    sink = Sink(path, None, max_bytes=100)
    for n in range(50):
        sink.msg(f"{n:020}")
    sink.close()
    kept = sorted(entry.name for entry in tmp_path.iterdir())
    assert kept == ["x.log.1", "x.log.2", "x.log.3"]
    assert path.with_name("x.log.1").read_text().splitlines()[-1] == f"{49:020}"
    sink.msg("one more")
    sink.close()
    assert path.read_text() == "one more\n"


def test_a_full_disk_and_a_closed_terminal_are_counted_and_nothing_else(tmp_path):
    path = tmp_path / "full.log"
    path.symlink_to("/dev/full")
    stream = io.StringIO()
    stream.close()
    sink = configure("x", file=path, stream=stream)
    structlog.get_logger().info("lost")
    assert sink.lost >= 2
    path.unlink()
    structlog.get_logger().info("found")
    assert json.loads(path.read_text())["event"] == "found"
    sink.close()
