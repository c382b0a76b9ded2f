"""What the transaction layer asks its user (the TU of RFC 3261 §5, here the calls) and the transport to do."""

from typing import Literal

from msgspec import Struct

from pbx.sip.flow import Flow
from pbx.sip.message import Request, Response


class Transmit(Struct, frozen=True):
    """Hand `data`, one whole message, to the transport."""

    data: bytes
    flow: Flow


class RequestArrived(Struct, frozen=True):
    """A new request for the TU, once per transaction; answer it with `TransactionLayer.respond(transaction, …)`."""

    transaction: str
    request: Request
    flow: Flow


class AckArrived(Struct, frozen=True):
    """The ACK to a 2xx; it belongs to the dialog (RFC 3261 §13.3.1.4). May come more than once."""

    request: Request
    flow: Flow


class Cancelled(Struct, frozen=True):
    """A CANCEL for the INVITE `transaction`, already answered 200; the TU answers the INVITE with 487."""

    transaction: str
    request: Request
    """The CANCEL."""
    flow: Flow


class ResponseArrived(Struct, frozen=True):
    """A response to the request started under `ref`; for an INVITE every 2xx, each wants an ACK."""

    ref: str
    response: Response
    flow: Flow


class TransactionFailed(Struct, frozen=True):
    """The request started under `ref` gets no final response; treat as 408 or 503 (RFC 3261 §8.1.3.1)."""

    ref: str
    why: Literal["timeout", "transport"]


class StrayResponse(Struct, frozen=True):
    """A response that matches no client transaction, such as a 2xx after Timer M."""

    response: Response
    flow: Flow


class ServerTimeout(Struct, frozen=True):
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
