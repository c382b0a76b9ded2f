"""HELD: asking a location server for a location it keeps (RFC 5985, dereferenced as in RFC 6753). Pure: bytes both ways."""

from typing import Final
from xml.etree.ElementTree import Element

from pbx.location import pidf
from pbx.location.pidf import Located, LocationError

CONTENT_TYPE: Final = "application/held+xml"
REQUEST: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<locationRequest xmlns="urn:ietf:params:xml:ns:geopriv:held" responseTime="emergencyDispatch">'
    b'<locationType exact="false">geodetic civic</locationType></locationRequest>'
)
"""RFC 5985 §5.2, §6.1: emergencyDispatch asks for the best there is; what is in the answer is taken either way."""

_HELD: Final = "{urn:ietf:params:xml:ns:geopriv:held}"


def answer(body: bytes) -> tuple[Located, ...]:
    """Read a `locationResponse`, or the bare PIDF-LO a GET may give (RFC 6753 §3.1). Raises LocationError."""
    root = pidf.parse(body)
    if root.tag == f"{_HELD}error":
        raise LocationError(f"the location server says {(root.get('code') or 'error')[:60]}")
    if root.tag == f"{_HELD}locationResponse":
        return pidf.read_presence(_presence(root))
    return pidf.read_presence(root)


def _presence(root: Element) -> Element:
    found = root.find("{urn:ietf:params:xml:ns:pidf}presence")
    if found is None:
        raise LocationError("the location server gives no location")
    return found
