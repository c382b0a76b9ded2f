"""Captures on a disk that obeys the test, and a keeper of them whose threads are waited for."""

import threading

from recordings import pcapng
from rtp.evidence import EvidenceKeeper


class Sink:
    takes_blocks = False

    def __init__(self, factory):
        self.factory = factory
        self.rows = []
        self.losses = []
        self.flushes = []
        self.threads = set()

    def packet(self, at_ns, source, destination, data):
        self.rows.append(("rtp", data))

    def append(self, append, left_out):
        return False

    def encoded(self, data, packets):
        self.rows += [("encoded", data)] * packets

    def sip(self, at_ns, source, destination, transport, data):
        self.rows.append((transport, data))

    def left_out(self, packets, first_ns, last_ns, reason):
        self.losses.append((packets, first_ns, last_ns, reason))

    def flush(self, *, sync):
        self.threads.add(threading.current_thread().name)
        if self.factory.fault is not None:
            raise self.factory.fault
        self.flushes.append(sync)

    def close(self):
        if self.factory.fault is not None:
            raise self.factory.fault
        return len(self.rows), 100


class Factory:
    def __init__(self):
        self.fault = None
        self.opened, self.together = [], []
        self.at_once = False
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self, call, folder):
        self.may_open.wait(10)
        if self.fault is not None:
            raise self.fault
        self.opened.append(Sink(self))
        return self.opened[-1]

    def head(self, source, destination):
        return pcapng.head(source, destination)

    def sync(self, sinks):
        self.together.append(list(sinks))
        return self.at_once


class Kept:
    """A keeper whose threads are waited for."""

    def __init__(self):
        self.factory = Factory()
        self.rests = []
        """How many captures had been flushed at each rest of the thread."""
        self.keeper = EvidenceKeeper(self.factory, lambda: None, rest=self._rest)

    def _rest(self, seconds):
        self.rests.append(sum(len(sink.flushes) for sink in self.factory.opened))

    def settled(self):
        """Events of everything asked for so far."""
        events = []
        for _ in range(3):
            self.keeper._pass()
            events += self.keeper.collect()
        return events
