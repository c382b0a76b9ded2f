"""Requests that say where their sender is, and two districts side by side."""

import json
from typing import Any

from pbx.location import writing as phone
from pbx.sip.message import Request
from pbx.sip.parser import parse
from routing.districts import Districts


def document(latitude: float = 37.5, longitude: float = 121.4, radius: float = 25.0) -> bytes:
    """A PIDF-LO with a circle."""
    return phone.pidf_lo(
        phone.Circle(latitude, longitude, radius), entity="pres:anna@example.com", timestamp="2026-11-22T08:00:00Z"
    )  # fmt: skip


def request(
    *headers: str, method: str = "INVITE", place: bytes | None = None, content_id: str = "place@phone"
) -> Request:
    """A request with SDP and, if given, a location beside it."""
    kind, body = "application/sdp", b"v=0\r\n"
    if place is not None:
        kind, body = phone.multipart(body, place, content_id=content_id, boundary="b1")
    head = "\r\n".join(
        (
            f"{method} sip:110@example.com SIP/2.0",
            "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            "From: <sip:anna@example.com>;tag=1",
            "To: <sip:110@example.com>",
            "Call-ID: 1",
            f"CSeq: 1 {method}",
            "Contact: <sip:anna@192.0.2.1>",
            "Max-Forwards: 70",
            *headers,
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
    )
    message = parse(f"{head}\r\n\r\n".encode() + body)
    assert isinstance(message, Request)
    return message


def square(ident: str, west: float, **more: Any) -> dict[str, Any]:
    """A GeoJSON feature one degree wide, from 36° to 37° north."""
    ring = [[west, 36.0], [west + 1, 36.0], [west + 1, 37.0], [west, 37.0], [west, 36.0]]
    properties = {"id": ident, "name": {"zh": ident, "en": ident}, **more}
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def collection(*features: dict[str, Any]) -> str:
    """A GeoJSON text."""
    return json.dumps({"type": "FeatureCollection", "features": list(features)})


WEST = square("west", 120.0, queue="q-west", prefixes=["+860535", "+86053588"], trunks=["carrier"])
EAST = square("east", 121.0, queue="q-east", prefixes=["+8605358"])


def districts() -> Districts:
    """West and east of 121° east, between 36° and 37° north; callers from nowhere belong to the east."""
    return Districts.load(collection(WEST, EAST), default="east")
