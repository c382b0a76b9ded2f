"""What the transaction layer asks its user (the TU of RFC 3261 §5, here the calls) and the transport to do."""

from dataclasses import dataclass
from typing import Literal

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response


@dataclass(frozen=True, slots=True)
class Transmit:
    """Hand `data`, one whole message, to the transport."""

    data: bytes
    flow: Flow


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """A new request for the TU, once per transaction; answer it with `TransactionLayer.respond(transaction, …)`."""

    transaction: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class AckArrived:
    """The ACK to a 2xx; it belongs to the dialog (RFC 3261 §13.3.1.4). May come more than once."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A CANCEL for the INVITE `transaction`, already answered 200; the TU answers the INVITE with 487."""

    transaction: str
    request: Request
    """The CANCEL."""
    flow: Flow


@dataclass(frozen=True, slots=True)
class ResponseArrived:
    """A response to the request started under `ref`; for an INVITE every 2xx, each wants an ACK."""

    ref: str
    response: Response
    flow: Flow


@dataclass(frozen=True, slots=True)
class TransactionFailed:
    """The request started under `ref` gets no final response; treat as 408 or 503 (RFC 3261 §8.1.3.1)."""

    ref: str
    why: Literal["timeout", "transport"]


@dataclass(frozen=True, slots=True)
class StrayResponse:
    """A response that matches no client transaction, such as a 2xx after Timer M."""

    response: Response
    flow: Flow


@dataclass(frozen=True, slots=True)
class ServerTimeout:
    """Timer H: the failure sent on this INVITE `transaction` was never acknowledged."""

    transaction: str


Effect = (
    Transmit
    | RequestArrived
    | AckArrived
    | Cancelled
    | ResponseArrived
    | TransactionFailed
    | StrayResponse
    | ServerTimeout
)
