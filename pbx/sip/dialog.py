"""Dialogs (RFC 3261 §12): who the two ends are, in which order they speak, and which way requests take.

in → out: the request and response that make a dialog give a `Dialog`; it builds every later request, checks those of the
peer, and follows its Contact. Times, transactions and flows are not its business: whoever sends looks at
`next_hop` or knows better (a phone behind a NAT is reached on the flow it came from).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from msgspec import structs

from pbx.sip.errors import SipError
from pbx.sip.message import CSeq, Request, Response
from pbx.sip.uri import NameAddr, Uri, parse_name_addr, parse_uri

TARGET_REFRESH: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""Methods whose Contact replaces the remote target (RFC 3261 §12.2, RFC 3311 §5, RFC 5057 §4.3)."""

DialogKey = tuple[str, str, str]
"""Call-ID, local tag, remote tag; "" for the tag an RFC 2543 peer does not send (§12.1.1: "null")."""


class DialogState(StrEnum):
    """RFC 3261 §12."""

    EARLY = "EARLY"
    CONFIRMED = "CONFIRMED"


def request_key(request: Request) -> DialogKey:
    """The dialog a request from the peer belongs to (§12.2.2)."""
    return (request.call_id, request.to.tag or "", request.from_.tag or "")


def response_key(response: Response) -> DialogKey:
    """The dialog a response to our request belongs to; a fork answers with a tag of its own (§13.2.2.4)."""
    return (response.call_id, response.from_.tag or "", response.to.tag or "")


@dataclass(slots=True)
class Dialog:
    """One dialog as one end sees it (§12.1)."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: NameAddr
    """What we write into From, tag included."""
    remote: NameAddr
    """What we write into To, tag included if the peer has one."""
    local_seq: int
    """CSeq number of our last request; 0: none yet (§12.1.1: "empty")."""
    remote_seq: int | None
    """CSeq number of the peer's last request; None: none yet."""
    route_set: tuple[NameAddr, ...]
    """Proxies between the two, nearest first."""
    remote_target: Uri
    """Where the peer is: its Contact."""
    contact: NameAddr
    """Our Contact."""
    state: DialogState
    secure: bool
    """Made by a sips Request-URI (§12.1.1)."""
    _written: tuple[tuple[object, ...], dict[str, Any]] | None = field(
        default=None, repr=False, compare=False
    )
    """Addresses as `snapshot` wrote them last, and of what: they hardly ever change, and writing them is most of its work."""

    @classmethod
    def uas(cls, request: Request, *, local_tag: str, contact: NameAddr) -> "Dialog":
        """Take the server's side of the dialog that `request` asks for (§12.1.1); early until `confirm`.

        Raises SipError(400) when the request has no Contact to send later requests to.
        """
        if request.contact is None:
            # §8.1.1.8: "The Contact header field MUST be present and contain exactly one SIP or SIPS URI in any request
            # that can result in the establishment of a dialog."
            raise SipError(400, "Missing Contact")
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            # "A UAS MUST be prepared to receive a request without a tag in the From field, in which case the tag is
            # considered to have a value of null."
            remote_tag=request.from_.tag or "",
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            local_seq=0,
            remote_seq=request.cseq.number,
            # "The route set MUST be set to the list of URIs in the Record-Route header field from the request, taken in
            # order and preserving all URI parameters."
            route_set=request.record_routes,
            remote_target=request.contact.uri,
            contact=contact,
            state=DialogState.EARLY,
            secure=request.uri.scheme == "sips",
        )

    @classmethod
    def uac(cls, request: Request, response: Response) -> "Dialog":
        """Take the client's side of the dialog that `response` (101 to 299) to our `request` makes (§12.1.2).

        Another To tag in another response to the same request makes another dialog. A response without Contact, which
        only RFC 2543 peers send, leaves the target at the Request-URI.
        """
        assert 101 <= response.status <= 299, "only these make a dialog"
        contact = request.contact
        assert contact is not None, "our own requests that make dialogs have a Contact"
        confirmed = response.status >= 200
        return cls(
            call_id=request.call_id,
            local_tag=request.from_.tag or "",
            # "A UAC MUST be prepared to receive a response without a tag in the To field, in which case the tag is
            # considered to have a value of null."
            remote_tag=response.to.tag or "",
            local=request.from_,
            remote=response.to,
            local_seq=request.cseq.number,
            remote_seq=None,
            # "The route set MUST be set to the list of URIs in the Record-Route header field from the response, taken in
            # reverse order and preserving all URI parameters."
            route_set=response.record_routes[::-1],
            remote_target=request.uri if response.contact is None else response.contact.uri,
            contact=contact,
            state=DialogState.CONFIRMED if confirmed else DialogState.EARLY,
            secure=request.uri.scheme == "sips",
        )

    @property
    def key(self) -> DialogKey:
        """What messages of this dialog are found by."""
        return (self.call_id, self.local_tag, self.remote_tag)

    @property
    def next_hop(self) -> Uri:
        """Whose host our requests are sent to (§8.1.2): the first of the route set, strict or loose, else the target."""
        return self.route_set[0].uri if self.route_set else self.remote_target

    def confirm(self) -> None:
        """We sent a 2xx, so the dialog is not early any more."""
        self.state = DialogState.CONFIRMED

    def request(
        self,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Build our next request in the dialog (§12.2.1.1); not for ACK and CANCEL, which repeat a CSeq number."""
        assert method not in ("ACK", "CANCEL"), "their CSeq number is the INVITE's"
        # "If the local sequence number is not empty, the value of the local sequence number MUST be incremented by one".
        self.local_seq += 1
        contact = self.contact if method in TARGET_REFRESH else None
        return self._build(
            CSeq(self.local_seq, method), contact, headers=headers, body=body, content_type=content_type
        )

    def ack(
        self,
        cseq: int,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """Build the ACK to a 2xx; `cseq` is the number of the INVITE, `headers` its credentials if it had any.

        RFC 3261 §13.2.2.4: "The sequence number of the CSeq header field MUST be the same as the INVITE being
        acknowledged, but the CSeq method MUST be ACK. The ACK MUST contain the same credentials as the INVITE."
        """
        return self._build(CSeq(cseq, "ACK"), None, headers=headers, body=body, content_type=content_type)

    def _build(
        self,
        cseq: CSeq,
        contact: NameAddr | None,
        *,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        content_type: str | None,
    ) -> Request:
        uri, routes = self.remote_target, self.route_set
        if routes and not routes[0].uri.has_param("lr"):
            # §12.2.1.1: "If the route set is not empty, and its first URI does not contain the lr parameter, the UAC MUST
            # place the first URI from the route set into the Request-URI, stripping any parameters that are not allowed
            # in a Request-URI. The UAC MUST add a Route header field containing the remainder of the route set values in
            # order, including all parameters. The UAC MUST then place the remote target URI into the Route header field
            # as the last value."
            uri, routes = routes[0].uri, (*routes[1:], NameAddr(None, self.remote_target))
        # Otherwise "the UAC MUST place the remote target URI into the Request-URI and MUST include a Route header field
        # containing the route set values in order, including all parameters."
        return Request.build(
            cseq.method,
            _as_request_uri(uri),
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq.number,
            contact=contact,
            routes=routes,
            headers=headers,
            body=body,
            content_type=content_type,
        )

    def receive(self, request: Request) -> None:
        """Take a request of the peer in this dialog (§12.2.2). Raises SipError(500) when it is out of order."""
        if request.method in ("ACK", "CANCEL"):
            return  # they carry the number of their INVITE, which may be behind us by now
        number = request.cseq.number
        # "If the remote sequence number was not empty, but the sequence number of the request is lower than the remote
        # sequence number, the request is out of order and MUST be rejected with a 500 (Server Internal Error) response."
        if self.remote_seq is not None and number < self.remote_seq:
            raise SipError(500, "CSeq out of order")
        self.remote_seq = number
        # "When a UAS receives a target refresh request, it MUST replace the dialog's remote target URI with the URI from
        # the Contact header field in that request, if present."
        if request.method in TARGET_REFRESH and request.contact is not None:
            self.remote_target = request.contact.uri

    def refresh(self, response: Response) -> None:
        """Take a response to a request of ours that may refresh the target; the first 2xx to our INVITE confirms.

        RFC 3261 §12.2.1.2: "When a UAC receives a 2xx response to a target refresh request, it MUST replace the dialog's
        remote target URI with the URI from the Contact header field in that response, if present."
        """
        assert response_key(response) == self.key, "another dialog's response"
        if not 200 <= response.status <= 299 or response.cseq.method not in TARGET_REFRESH:
            return
        if self.state is DialogState.EARLY and response.cseq.method == "INVITE":
            # §13.2.2.4: "…the dialog MUST be transitioned to the "confirmed" state, and the route set for the dialog MUST
            # be recomputed based on the 2xx response using the procedures of Section 12.2.1.2."
            self.state = DialogState.CONFIRMED
            self.route_set = response.record_routes[::-1]
        if response.contact is not None:
            self.remote_target = response.contact.uri

    def snapshot(self) -> dict[str, Any]:
        """Plain data for `restore`."""
        return {
            "call_id": self.call_id,
            "local_tag": self.local_tag,
            "remote_tag": self.remote_tag,
            **self._addresses(),
            "local_seq": self.local_seq,
            "remote_seq": self.remote_seq,
            "state": self.state.value,
            "secure": self.secure,
        }

    def _addresses(self) -> dict[str, Any]:
        if (written := self._written) is not None:  # the same objects have the same texts
            local, remote, route_set, target, contact = written[0]
            same = self.local is local and self.remote is remote and self.route_set is route_set
            if same and self.remote_target is target and self.contact is contact:
                return written[1]
        parts = (self.local, self.remote, self.route_set, self.remote_target, self.contact)
        texts = {
            "local": str(self.local),
            "remote": str(self.remote),
            "route_set": [str(route) for route in self.route_set],
            "remote_target": str(self.remote_target),
            "contact": str(self.contact),
        }
        self._written = (parts, texts)
        return texts

    @classmethod
    def restore(cls, data: Mapping[str, Any]) -> "Dialog":
        """Undo `snapshot`."""
        return cls(
            call_id=data["call_id"],
            local_tag=data["local_tag"],
            remote_tag=data["remote_tag"],
            local=parse_name_addr(data["local"]),
            remote=parse_name_addr(data["remote"]),
            local_seq=data["local_seq"],
            remote_seq=data["remote_seq"],
            route_set=tuple(parse_name_addr(route) for route in data["route_set"]),
            remote_target=parse_uri(data["remote_target"]),
            contact=parse_name_addr(data["contact"]),
            state=DialogState(data["state"]),
            secure=data["secure"],
        )


def _as_request_uri(uri: Uri) -> Uri:
    # RFC 3261 §19.1.1, table 1: neither a method parameter nor headers in a Request-URI.
    params = tuple((name, value) for name, value in uri.params if name.lower() != "method")
    return structs.replace(uri, params=params, headers=())
