import asyncio

import pytest

from pbx.tasks import Tasks
from rtp import control as c
from rtp.client import MAX_UNSENT, MediaClient
from rtp.frames import Frames, decode_command, encode
from rtp.freed import Freed

HELLO = c.Holdings("", (), ())


class Worker:
    """The media process's end of the socket."""

    def __init__(self, path):
        self.path = str(path)
        self.commands = asyncio.Queue()
        self.writers = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def start(self):
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader, writer):
        self.writers.append(writer)
        writer.write(encode(HELLO))
        frames = Frames()
        await self.reading.wait()
        try:
            while data := await reader.read(65536):
                for frame in frames.feed(data):
                    self.commands.put_nowait(decode_command(frame))
        except ConnectionError:
            pass
        writer.close()

    async def stop(self):
        self.reading.set()
        self.server.close()
        for writer in self.writers:
            writer.close()
        self.writers.clear()
        await self.server.wait_closed()


class Client:
    def __init__(self, path):
        self.events = asyncio.Queue()
        self.failures = []
        self.tasks = Tasks("test", lambda name, error: self.failures.append((name, error)))
        self.media = MediaClient(str(path), self.events.put_nowait, self.tasks)


@pytest.fixture
async def ends(tmp_path, monkeypatch):
    monkeypatch.setattr("rtp.client.RETRY_SECONDS", 0.005)
    worker, client = Worker(tmp_path / "m.sock"), Client(tmp_path / "m.sock")
    yield worker, client
    await client.media.close()
    await client.tasks.close()
    if hasattr(worker, "server"):
        await worker.stop()
    assert client.failures == []


async def test_a_process_that_begins_anew_is_told_first_which_ports_were_freed_lately(ends):
    worker, client = ends
    client.media._freed = Freed(30.0)
    await worker.start()
    await client.media.connect()
    await client.events.get()
    client.media.send(c.OpenLeg("leg", ("audio",), "127.0.0.1"))
    opened = c.LegOpened("leg", (c.PortPair("audio", 20_000, 20_001),))
    worker.writers[0].write(encode(opened))
    assert await client.events.get() == opened
    client.media.send(c.CloseLeg("leg"))
    while not isinstance(await worker.commands.get(), c.CloseLeg):
        pass
    await worker.stop()
    await worker.start()
    told = await worker.commands.get()
    assert (told.host, told.port) == ("127.0.0.1", 20_000)
    assert 0.0 < told.seconds <= 30.0
    assert await client.events.get() == HELLO, "whoever listens hears of it afterwards"


async def test_commands_go_out_and_events_come_in(ends):
    worker, client = ends
    await worker.start()
    await client.media.connect()
    assert client.media.connected
    assert await client.events.get() == HELLO
    client.media.send(c.CloseLeg("x"))
    assert await worker.commands.get() == c.CloseLeg("x")
    worker.writers[0].write(encode(c.Dtmf("x", "1")))
    assert await client.events.get() == c.Dtmf("x", "1")


async def test_it_waits_for_a_process_that_is_not_there_yet(ends):
    worker, client = ends
    waiting = asyncio.ensure_future(client.media.connect())  # noqa: TID251  # a test owns it
    client.media.send(c.CloseLeg("early"))
    await worker.start()
    await waiting
    assert client.media.unsent == 1
    assert await client.events.get() == HELLO


async def test_it_comes_back_after_the_process_died(ends):
    worker, client = ends
    await worker.start()
    await client.media.connect()
    assert await client.events.get() == HELLO
    await worker.stop()
    await worker.start()
    assert await client.events.get() == HELLO
    client.media.send(c.Query("again"))
    assert await worker.commands.get() == c.Query("again")


async def test_a_process_that_speaks_something_else_is_left_and_tried_again(ends):
    worker, client = ends
    await worker.start()
    await client.media.connect()
    assert await client.events.get() == HELLO
    worker.writers[0].write(b"\0\0\0\1\xc1")
    assert await client.events.get() == HELLO


async def test_a_process_that_reads_nothing_counts_as_dead(ends):
    worker, client = ends
    worker.reading.clear()
    await worker.start()
    await client.media.connect()
    note = c.NoteSip("call", 1, ("a", 1), ("b", 2), "udp", bytes(1 << 20))
    for _ in range((MAX_UNSENT >> 20) + 3):
        client.media.send(note)
    assert not client.media.connected
    assert client.media.unsent >= 1


async def test_close_ends_for_good_and_twice_is_harmless(ends):
    worker, client = ends
    await worker.start()
    await client.media.connect()
    assert await client.events.get() == HELLO
    client.media.send(c.Query("last"))
    await client.media.close()
    await client.media.close()
    assert not client.media.connected
    assert await worker.commands.get() == c.Query("last")
    assert len(client.tasks) == 0


async def test_connect_twice_is_one_connection(ends):
    worker, client = ends
    await worker.start()
    await client.media.connect()
    await client.media.connect()
    assert len(client.tasks) == 1
