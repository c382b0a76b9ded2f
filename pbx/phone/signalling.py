"""The SIP rim of a scripted phone: one endpoint, the transaction layer, one timer; a request becomes an awaited answer.

request ─▶ transactions ─▶ endpoint ─▶ server;   server ─▶ endpoint ─▶ transactions ─▶ answer, or `Peer` for requests

All goes to one server, over UDP. Not done: TCP for long requests (RFC 3261 §18.1.1), names in DNS beyond the server's.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pbx.sip.effects import (
    AckArrived,
    Effect,
    RequestArrived,
    ResponseArrived,
    StrayResponse,
    TransactionFailed,
    Transmit,
)
from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response
from pbx.sip.transactions import TransactionLayer
from pbx.tasks import Tasks
from pbx.transport import Endpoint

OnProvisional = Callable[[Response], None]


class Peer(Protocol):
    """Who hears what the server asks of us."""

    def requested(self, transaction: str, request: Request) -> None:
        """Answer with `Signalling.respond`."""

    def acknowledged(self, request: Request) -> None:
        """The ACK to a 2xx of ours."""


class NoAnswerError(Exception):
    """No final response came: `timeout`, or the network refused (`transport`)."""

    def __init__(self, why: Literal["timeout", "transport"]) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class _Waiting:
    answer: asyncio.Future[Response]
    on_provisional: OnProvisional | None


class Signalling:
    """Requests out with their answers, requests in."""

    def __init__(self, server: tuple[str, int], peer: Peer, tasks: Tasks) -> None:
        """`server`: IP address or host name, port."""
        self._server = server
        self._peer = peer
        self._tasks = tasks
        self._layer = TransactionLayer()
        self._endpoint: Endpoint | None = None
        self._flow: Flow | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._acks: dict[tuple[str, int], Request] = {}

    @property
    def host(self) -> str:
        """Our IP address as the server sees it."""
        assert self._flow is not None, "start() comes first"
        return self._flow.local[0]

    @property
    def port(self) -> int:
        """Our UDP port."""
        assert self._flow is not None, "start() comes first"
        return self._flow.local[1]

    async def start(self) -> None:
        """Find the server and listen. Raises OSError when its name can't be resolved or nothing can be bound."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(*self._server, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        remote = (str(address[0]), int(address[1]))
        host = _source_address(family, remote)
        endpoint = Endpoint(host=host, port=0, on_message=self._received, tasks=self._tasks)
        endpoint.on_failed = self._failed
        await endpoint.start()
        self._endpoint = endpoint
        self._flow = Flow("udp", (host, endpoint.port), remote)

    async def close(self) -> None:
        """Stop; nothing is sent any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._endpoint is not None:
            await self._endpoint.close()

    # --- requests of ours -------------------------------------------------------------------------------------------

    async def request(
        self, request: Request, *, ref: str, on_provisional: OnProvisional | None = None
    ) -> Response:
        """Send a request (neither ACK nor CANCEL) and wait for its final response. Raises NoAnswerError."""
        loop = asyncio.get_running_loop()
        self._waiting[ref] = _Waiting(loop.create_future(), on_provisional)
        try:
            flow = self._to_server()
            effects = self._layer.request(
                request,
                flow,
                loop.time(),
                ref=ref,
                branch=_branch(),
                via_host=flow.local[0],
                via_port=flow.local[1],
            )
            self._run(effects)
            return await self._waiting[ref].answer
        finally:
            del self._waiting[ref]

    def cancel(self, ref: str) -> None:
        """Cancel the INVITE under `ref`; its final response still comes."""
        self._run(self._layer.cancel(ref, asyncio.get_running_loop().time()))

    def ack(self, request: Request) -> None:
        """Send the ACK to a 2xx, and again whenever the 2xx is repeated (RFC 3261 §13.2.2.4)."""
        self._acks[request.call_id, request.cseq.number] = request
        flow = self._to_server()
        effects = self._layer.send_ack(
            request,
            flow,
            asyncio.get_running_loop().time(),
            branch=_branch(),
            via_host=flow.local[0],
            via_port=flow.local[1],
        )
        self._run(effects)

    def respond(self, transaction: str, response: Response) -> None:
        """Answer a request that came to `Peer.requested`."""
        self._run(self._layer.respond(transaction, response, asyncio.get_running_loop().time()))

    def _to_server(self) -> Flow:
        assert self._flow is not None, "start() comes first"
        return self._flow

    # --- what comes -------------------------------------------------------------------------------------------------

    def _received(self, message: Request | Response, flow: Flow, _data: bytes) -> None:
        self._run(self._layer.receive(message, flow, asyncio.get_running_loop().time()))

    def _failed(self, flow: Flow) -> None:
        self._run(self._layer.transport_failed(flow, asyncio.get_running_loop().time()))

    def _expired(self) -> None:
        self._timer = None
        self._run(self._layer.expire(asyncio.get_running_loop().time()))

    def _run(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit(data, flow):
                    if self._endpoint is not None:
                        self._endpoint.send(data, flow)
                case RequestArrived(transaction, request, _):
                    self._peer.requested(transaction, request)
                case AckArrived(request, _):
                    self._peer.acknowledged(request)
                case ResponseArrived(ref, response, _):
                    self._answered(ref, response)
                case StrayResponse(response, _):
                    self._repeat_ack(response)
                case TransactionFailed(ref, why):
                    waiting = self._waiting.get(ref)
                    if waiting is not None and not waiting.answer.done():
                        waiting.answer.set_exception(NoAnswerError(why))
                case _:
                    pass  # Cancelled: we answer at once; ServerTimeout: a failure of ours nobody acknowledged
        self._arm()

    def _answered(self, ref: str, response: Response) -> None:
        waiting = self._waiting.get(ref)
        if waiting is None or waiting.answer.done():
            self._repeat_ack(response)
        elif response.status >= 200:
            waiting.answer.set_result(response)
        elif waiting.on_provisional is not None:
            waiting.on_provisional(response)

    def _repeat_ack(self, response: Response) -> None:
        if response.cseq.method == "INVITE" and 200 <= response.status < 300:
            known = self._acks.get((response.call_id, response.cseq.number))
            if known is not None:
                self.ack(known)

    def _arm(self) -> None:
        due = self._layer.next_due
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # it wakes in time, looks and arms again
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if due is None else loop.call_at(due, self._expired)


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(10)}"  # RFC 3261 §8.1.1.7


def _source_address(family: int, remote: tuple[str, int]) -> str:
    """Our address on the way to `remote`: a UDP socket that is connected, and sends nothing, is told."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(remote)
        return str(probe.getsockname()[0])
