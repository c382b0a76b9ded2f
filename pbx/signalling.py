"""The signalling process, put together: every part is built here, its outputs wired to others' inputs, and ended in order.

in → out: settings → a running exchange, until asked to stop.
"""

import asyncio
import datetime as dt
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from pbx import credentials, listening
from pbx.api.app import Listener, listen
from pbx.api.feed import Feed
from pbx.binding import Binding
from pbx.block_service import BlockService
from pbx.call.answering import Answering
from pbx.call.control import Control, mint
from pbx.call.exchange import Exchange
from pbx.call.heartbeat import Heartbeat
from pbx.call.keeping import Keeping
from pbx.call.reconcile import reconcile
from pbx.call.rim import Rim
from pbx.call.service import Service
from pbx.call.supervision import set_roles
from pbx.call.survival import Machines, Survival
from pbx.call.trunk_service import TrunkService
from pbx.call.watch import Watch
from pbx.caller_facts import CallerFacts
from pbx.caller_service import CallerService
from pbx.directory import Directory
from pbx.flows import Flows
from pbx.gauges import Gauges
from pbx.guarding import Peers, make_guard, watch_guard
from pbx.health import Health, Parts
from pbx.identity_documents import DocumentKey
from pbx.identity_service import IdentityService
from pbx.liveness import Liveness
from pbx.location.client import LocationClient
from pbx.media_link import media_link
from pbx.media_reports import MediaReports
from pbx.memory import Memory
from pbx.metrics import Metrics, watch_loop
from pbx.people import ApiPeople
from pbx.pulse import Pulses
from pbx.registering import registrations
from pbx.registrar import Effect as BindingChange
from pbx.registrar import Registrar
from pbx.scribe import Scribe
from pbx.set_up import emergency, port_pairs, site
from pbx.settings import Settings
from pbx.sip.flow import Flow
from pbx.sip.kept_transactions import KeptLayer
from pbx.sip.locate import Locator
from pbx.sip.message import Request, Response
from pbx.sip.outgoing import Outgoing
from pbx.sip.uri import NameAddr, Uri
from pbx.storage import phones
from pbx.storage.accounts import Accounts
from pbx.storage.blocks import Blocks
from pbx.storage.database import Database
from pbx.storage.histories import Histories
from pbx.storage.outbox import Outbox
from pbx.storage.proofs import Proofs
from pbx.storage.roles import Roles
from pbx.store_watch import StoreWatch
from pbx.tasks import Tasks
from pbx.transport import files
from pbx.transport.endpoint import Endpoint
from pbx.transport.gate import GateLimits
from pbx.transport.link import StreamLimits
from pbx.transport.resolver import DNS_PORT, Resolver, system_servers
from pbx.trunks import secret
from pbx.trunks.trunks import Trunks
from pbx.web import web_application
from recordings.store import remembered
from rtp.control import Event, Holdings

log = structlog.get_logger("signalling")

GOODBYE_SECONDS = 4.0
"""How long a stop waits for phones to answer BYE and for evidence to close."""
LAST_SECONDS = 1.0
"""Of these, for who called during the others: they are told goodbye too, and nobody is taken any more."""
GOODBYE_LOOK_SECONDS = 0.05
"""Between two looks whether everybody has said goodbye."""
RECONCILE_SECONDS = 1.0
"""How often seats, dialogs and rooms are compared."""
SWEEP_SECONDS = 5.0
"""From the start to looking for evidence that was left: by then every media process has said which captures it has open."""
FEED_SECONDS = 0.1
"""How often watchers hear of changes."""


class Signalling:
    """See the module."""

    def __init__(
        self, settings: Settings, database_url: str, scribe: Scribe, pulses: Pulses | None = None
    ) -> None:
        self._settings = settings
        self._files = files.raise_limit()
        self._tasks = Tasks("signalling", _task_failed)
        self._metrics = Metrics()
        self._feed = Feed()
        self._database = Database(database_url, self._tasks, self._database_changed)
        self._outbox = Outbox(settings.journal, self._database, self._tasks)
        people = credentials.load_or_create(settings.credentials)
        demo = credentials.accounts(people, settings.sip.realm)
        self._token = people.api_token
        self._accounts = Accounts(settings.accounts_cache, settings.sip.realm, demo)
        self._directory = Directory(self._accounts)
        self._registrar = Registrar()
        self._exchange = Exchange(site(settings), mint)
        self._flows = Flows()
        self._answering = Answering(
            self._exchange,
            registrations(
                settings,
                self._registrar,
                self._directory,
                self._flows,
                complete=lambda: self._database.up and self._accounts.from_database,
                changed=self._bindings_changed,
                is_proxy=self._is_proxy,
            ),
        )
        self._heartbeat, self._memory = Heartbeat(), Memory()
        first = dict.fromkeys(settings.hands.supervisors, ("supervisor",))
        self._roles = Roles(settings.state / "roles.json", settings.sip.realm, first)
        self._roles.on_change(self._roles_changed)
        self._proofs, self._histories = Proofs(settings.sip.realm), Histories(settings.sip.realm)
        key = DocumentKey(settings.state / "document.key")
        self._identities = IdentityService(self._proofs, self._accounts, self._database, key)
        self._exchange.supervisors = self._roles.holders("supervisor")
        self._exchange.administrators = self._roles.holders("admin")
        self._metrics.scribe_waiting.set_function(lambda: scribe.waiting)
        self._metrics.scribe_lost.set_function(lambda: scribe.lost)
        self._survival = Survival(self._outbox, self._metrics)
        self._keeping = Keeping(settings.state, self._exchange, scribe, self._survival.outward)
        store = remembered(settings.evidence_folder, settings.state)
        self._store_watch = StoreWatch(store)
        self._metrics.evidence_there.set_function(lambda: self._store_watch.there)
        self._watch = Watch(
            self._exchange,
            outbox=self._survival.rows,
            publish=self._feed.publish,
            metrics=self._metrics,
            spool=settings.spool,
            registered=self._registered,
            scribe=scribe,
            watched=lambda: len(self._feed) > 0,
            also=self._keeping.noted,
            outward=self._survival.outward,
            there=store.check,
        )
        self._reports = MediaReports(self._metrics, self._watch.reported)
        self._liveness = Liveness(pulses, settings.media.processes, self._metrics)
        self._media = media_link(settings, self._on_media, self._tasks, self._liveness.late)
        parts = Parts(
            self._exchange,
            self._registrar,
            self._database,
            self._outbox,
            self._media,
            self._liveness,
            self._store_watch,
        )
        self._health = Health(parts, self._feed)
        self._certificates = listening.certificates(settings, dt.datetime.now(dt.UTC))
        peers = Peers(
            self._exchange.legs.values, self._exchange.call_of, self._registrar, port_pairs(settings)
        )
        sources = tuple(source for trunk in settings.trunk for source in trunk.sources)
        self._guard = make_guard(settings.limits, emergency(settings), peers, sources)
        self._endpoint = Endpoint(
            host=settings.sip.host.strip("[]"),
            port=settings.sip.port,
            on_message=self._on_message,
            tasks=self._tasks,
            gate=self._guard,
            more=listening.further(settings),
            certificates=self._certificates,
            limits=StreamLimits(highest_file=files.highest_of_connections(self._files)),
        )
        named = tuple((host, DNS_PORT) for host in settings.sip.resolvers)
        rim = Rim(
            *self._survival.between(self._endpoint, self._media),
            self._watch,
            Resolver(named or system_servers(), self._tasks),
            LocationClient(settings.location.servers, self._tasks, lost_server=settings.location.lost),
            CallerFacts(self._histories, self._database, self._tasks, settings.subscribers),
        )
        outgoing = Outgoing(Locator(random.SystemRandom().random))
        layer = KeptLayer()
        self._control = Control(self._exchange, self._answering, layer, rim, outgoing=outgoing)
        peers.reception = reception = self._control.reception
        reception.patience = settings.limits.emergency_wait_seconds
        self._control.beginning.wire(lambda: self._endpoint.backlog, self._guard.crowd)
        known = Machines(self._exchange, layer, self._flows, self._watch, self._keeping, reception)
        self._survival.take(known, settings.state, os.environ)
        self._control.settled = self._survival.settle
        accounts = secret.accounts(settings.trunk, os.environ, settings.file)
        draw, names = random.SystemRandom().random, self._endpoint.names
        us = NameAddr(None, Uri("sip", "110", None, self._exchange.site.host))
        self._exchange.trunks = Trunks(
            settings.trunk, accounts, mint=mint, draw=draw, names=names, contact=us
        )
        self._trunks = TrunkService(self._control, self._metrics)
        self._gauges = Gauges(
            self._metrics,
            self._exchange,
            self._registrar,
            reception,
            self._outbox,
            self._endpoint,
            self._watch,
            self._directory,
        )
        self._endpoint.on_failed = self._control.on_flow_failed
        self._endpoint.on_gone = self._control.on_flow_gone
        self._service = Service(
            self._control,
            self._watch,
            self._directory,
            bindings=self._bindings,
            health=self._health.view,
            subscribe=self._feed.subscribe,
            incident=self._keeping.incident,
        )
        self._listener: Listener | None = None

    def _backlog(self) -> float:
        return max(self._endpoint.backlog, self._control.reception.strain(time.monotonic()))

    def _is_proxy(self, host: str) -> bool:
        return self._guard.is_upstream(host)

    # --- running ------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Serve until `stop` is set. Raises OSError, with the address in its text, when a port is taken."""
        try:
            await self._start()
            self._health.ready = True
            on_ready()
            await stop.wait()
        finally:
            ordered, self._health.ready = self._health.ready, False
            await self._stop(ordered=ordered)

    async def _start(self) -> None:
        settings = self._settings
        await self._outbox.start()
        left = self._survival.resume()
        self._store_watch.start()
        self._database.start()
        self._accounts.start(self._database, self._tasks)
        self._roles.start(self._database, self._tasks)
        self._proofs.start(self._database, self._tasks)
        self._tasks.spawn(phones.bring_back(self._database, self._adopt), name="registrations")
        await self._media.connect()
        await self._endpoint.start()
        application = web_application(
            settings,
            self._control,
            self._service,
            endpoint=self._endpoint,
            trunks=self._trunks,
            roles=self._roles,
            people=ApiPeople(self._accounts, self._roles, settings.sip.realm),
            database=self._database,
            identities=self._identities,
            callers=CallerService(self._histories, self._accounts, self._database),
            blocks=BlockService(Blocks(settings.sip.realm), self._accounts, self._database),
            keeping=self._keeping,
            metrics=self._metrics,
            token=self._token,
        )
        certificates, endpoint = self._certificates, self._endpoint
        self._listener = await listen(
            application,
            settings.http.host,
            settings.http.port,
            tls_port=settings.http.tls_port,
            context=None if certificates is None else lambda: certificates.web,
            limits=GateLimits(highest_file=files.highest_of_connections(self._files, web=True)),
        )
        self._place()
        self._survival.go_on(self._control, left)
        self._tasks.spawn(self._sweep(), name="leftovers")
        self._trunks.start()
        self._tasks.spawn(watch_loop(self._metrics), name="loop_lag")
        self._tasks.spawn(
            watch_guard(self._guard, self._backlog, self._metrics, endpoint.admit, endpoint.send),
            name="guard",
        )
        self._tasks.spawn(self._publish(), name="publish")
        self._tasks.spawn(self._reconcile(), name="reconcile")
        self._tasks.spawn(listening.watch(self._certificates), name="certificate")
        log.info("signalling_started", sip_port=self._endpoint.port, http_port=self._listener.port)

    def _place(self) -> None:
        """State where we listen, now that every port is known."""
        endpoint, listener = self._endpoint, self._listener
        assert listener is not None, "the HTTP server listens by now"
        web_ports = (("ws", listener.port), ("wss", listener.tls_port))
        places = listening.places(self._settings, endpoint.port, endpoint.listening, web_ports)
        self._exchange.site = replace(self._exchange.site, port=endpoint.port, places=places)

    def reload(self) -> None:
        """Read the certificate again; connections that stand keep the one they were made with."""
        listening.reload(self._certificates, forced=True)

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(FEED_SECONDS)
            self._watch.flush()
            self._health.look()
            self._reports.forget(self._exchange.legs)
            self._gauges.often()

    async def _sweep(self) -> None:
        await asyncio.sleep(SWEEP_SECONDS)
        self._watch.sweep(self._settings.evidence_folder)

    async def _reconcile(self) -> None:
        control, memory = self._control, self._memory
        looks: tuple[Callable[[], object], ...] = (
            lambda: control.look("reconcile", lambda now: reconcile(self._exchange, now)),
            lambda: control.look("heartbeat", lambda now: self._heartbeat.look(self._exchange, now)),
            self._survival.beat,
            lambda: memory.look(calm=control.reception.empty and not self._guard.load.shedding),
            self._keeping.flush,
            self._trunks.measure,
            self._gauges.seldom,
        )
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            for look in looks:
                look()
                await asyncio.sleep(0)  # whoever calls meanwhile waits for one look, not for all of them

    async def _stop(self, *, ordered: bool) -> None:
        """Say goodbye to every phone, close the evidence, then end the parts, the last started first.

        `ordered`: else the start failed, and calls that were taken up wait for the next one.
        """
        self._trunks.close()
        if ordered:
            for say, seconds in (
                (self._control.hang_up_all, GOODBYE_SECONDS - LAST_SECONDS),
                (self._control.turn_away, LAST_SECONDS),
            ):
                say()
                deadline = time.monotonic() + seconds
                while self._exchange.calls and time.monotonic() < deadline:  # noqa: ASYNC110 - at the very end
                    await asyncio.sleep(GOODBYE_LOOK_SECONDS)
        self._control.close()
        if ordered:
            self._survival.end()
        if self._listener is not None:
            await self._listener.close()
        self._store_watch.close()
        self._feed.close()
        await self._endpoint.close()
        await self._media.close()
        self._watch.close()
        self._keeping.close()
        await self._outbox.close()
        await self._database.close()
        await self._tasks.close()
        log.info("signalling_stopped")

    # --- wiring -------------------------------------------------------------------------------------------------

    def _on_message(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        self._control.on_message(message, flow, data)

    def _on_media(self, event: Event) -> None:
        if isinstance(event, Holdings):
            self._exchange.media_gap = self._liveness.outage()
        self._control.on_media(event)
        self._survival.media_said(event, self._control)
        self._reports.take(event)

    def _roles_changed(self, _users: frozenset[str]) -> None:
        exchange, watching = self._exchange, self._answering.watching
        self._control.look("roles", lambda now: set_roles(exchange, watching, self._roles.holders, now))

    def _bindings(self, user: str, now: float) -> tuple[Binding, ...]:
        account = self._directory.account(user)
        return () if account is None else self._answering.bindings(account, now)

    def _registered(self, user: str) -> bool:
        return bool(self._bindings(user, time.monotonic()))

    def _bindings_changed(self, changes: Sequence[BindingChange]) -> None:
        for change in changes:
            self._survival.rows.append("registration", phones.record(change, time.time()))

    def _adopt(self, bindings: Sequence[Binding]) -> None:
        self._control.act(lambda now: self._answering.adopt(bindings, now))

    def _database_changed(self, up: bool) -> None:
        self._metrics.database_up.set(int(up))
        self._health.tell()


def _task_failed(name: str, error: BaseException) -> None:
    log.error("task_failed", task=name, exc_info=error)
