"""Civic addresses (RFC 5139, extensions of RFC 6848), and how they are written in Chinese and English. Pure."""

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

NAMESPACE: Final = "{urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr}"
EXTENSION: Final = "{urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr:ext}"
MAX_TEXT: Final = 120
"""Characters of one element that are kept."""

ELEMENTS: Final = (
    "country", "A1", "A2", "A3", "A4", "A5", "A6", "PRD", "RD", "STS", "POD", "PRM", "POM", "HNO", "HNS", "LMK", "LOC",
    "NAM", "PC", "BLD", "UNIT", "FLR", "ROOM", "PLC", "PCN", "POBOX", "ADDCODE", "SEAT", "RDSEC", "RDBR", "RDSUBBR",
)  # fmt: skip
"""RFC 5139 §3.1, in its order."""
EXTENSIONS: Final = ("PN", "MP", "STP", "HNP")
"""RFC 6848 §3: pole number, milepost, street type prefix, house number prefix."""

_BIG_TO_SMALL: Final = (
    "A1", "A2", "A3", "A4", "A5", "A6", "STP", "PRD", "RD", "POD", "STS", "RDSEC", "RDBR", "HNP", "HNO", "HNS", "LMK",
    "BLD", "NAM", "UNIT", "FLR", "ROOM", "SEAT", "MP", "PN", "LOC",
)  # fmt: skip
_SMALL_TO_BIG: Final = (
    ("LOC", "SEAT", "ROOM", "FLR", "UNIT", "NAM", "BLD", "LMK"),
    ("HNP", "HNO", "HNS", "STP", "PRD", "RD", "STS", "POD"),
    ("A6",), ("A5",), ("A4",), ("A3",), ("A2",), ("A1",), ("PC",), ("country",),
)  # fmt: skip
_SUFFIX_ZH: Final = {"FLR": "层", "ROOM": "室", "UNIT": "单元", "MP": "公里处", "HNO": "号"}


@dataclass(frozen=True, slots=True)
class Civic:
    """Elements of an address by the names of the RFCs, in the order they came; no name twice."""

    parts: tuple[tuple[str, str], ...]
    language: str | None = None
    """xml:lang."""

    def get(self, name: str) -> str | None:
        """Return one element."""
        return next((value for key, value in self.parts if key == name), None)

    @property
    def floor(self) -> str | None:
        return self.get("FLR")

    def text(self, language: str) -> str:
        """Write the address on one line: in Chinese from the province down to the room, else from the room up."""
        if language.startswith("zh"):
            return "".join(self._zh(name) for name in _BIG_TO_SMALL if self.get(name))
        groups = (" ".join(value for name in group if (value := self.get(name))) for group in _SMALL_TO_BIG)
        return ", ".join(group for group in groups if group)

    def _zh(self, name: str) -> str:
        value = self.get(name) or ""
        suffix = _SUFFIX_ZH.get(name, "")
        # "3" becomes "3层"; "3层" and "地下室" stay as they are.
        return value + suffix if suffix and value.isascii() else value


def read_civic(element: Element) -> Civic:
    """Read a `civicAddress` element; what is not known is left out."""
    parts: dict[str, str] = {}
    for child in element:
        tag = str(child.tag)
        name = tag.removeprefix(NAMESPACE)
        if name not in ELEMENTS:
            name = tag.removeprefix(EXTENSION)
            if name not in EXTENSIONS:
                continue
        value = "".join(child.itertext()).strip(" \t\r\n")[:MAX_TEXT]
        if value:
            parts.setdefault(name, value)
    return Civic(tuple(parts.items()), element.get("{http://www.w3.org/XML/1998/namespace}lang"))
