"""The journal's file format, without a file. Pure.

A file is a header and frames. Each frame is one turn of the exchange: what of its state changed, and what it then did to
files and database. A frame is whole and genuine or it is nothing.

    header   magic (16) │ boot id (36) │ salt (16) │ key id (8)
    frame    length of what follows, 4 bytes, big endian │ ciphertext and tag (AES-256-GCM)

The key of a file is derived from the supervisor's key, the salt and the whole header, so that counting frames makes nonces
that never repeat, and no frame fits another file or another place in its own.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC: Final = b"at110 live  v1\r\n"
BOOT_BYTES: Final = 36
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
NAME_BYTES: Final = 8
HEADER_BYTES: Final = len(MAGIC) + BOOT_BYTES + SALT_BYTES + NAME_BYTES
TAG_BYTES: Final = 16
MAX_FRAME: Final = 64 << 20
"""Bytes of one frame; the whole state of a thousand calls is a tenth of it."""


class Frame(msgspec.Struct, array_like=True):
    """One turn."""

    mono: float
    """When it ended, monotonic seconds of this boot."""
    wall: int
    """The same moment, nanoseconds since 1970."""
    base: int
    """Rows the outbox had before this turn's."""
    changes: list[tuple[str, bytes | None]]
    """Name of a record → its bytes; None: it is no more."""
    outs: list[bytes]
    """What the turn did to files and database, in order (`outward`)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself in the clear."""

    boot: str
    salt: bytes
    key: bytes
    """Names the supervisor's key without telling it."""

    def encode(self) -> bytes:
        """Return the header's bytes."""
        return MAGIC + self.boot.encode("ascii").ljust(BOOT_BYTES)[:BOOT_BYTES] + self.salt + self.key


def parse_header(data: bytes) -> Header | None:
    """Read a header; None when this is no journal of ours."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return None
    rest = data[len(MAGIC) : HEADER_BYTES]
    boot, salt, key = (
        rest[:BOOT_BYTES],
        rest[BOOT_BYTES : BOOT_BYTES + SALT_BYTES],
        rest[BOOT_BYTES + SALT_BYTES :],
    )
    return Header(boot.decode("ascii", "replace").rstrip(), salt, key)


def key_name(key: bytes) -> bytes:
    """Name a key: who holds another one must see that it can't read a file."""
    return _derive(key, b"name of the key", NAME_BYTES)


def _derive(key: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(key)


class Seal:
    """Seals and opens the frames of one file, in order."""

    def __init__(self, key: bytes, header: Header) -> None:
        """`key`: `KEY_BYTES` of the supervisor's."""
        self._cipher = AESGCM(_derive(key, header.encode(), KEY_BYTES))
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Frame)
        self._count = 0

    def seal(self, frame: Frame) -> bytes:
        """Return the bytes of the next frame."""
        sealed = self._cipher.encrypt(self._nonce(), self._encoder.encode(frame), None)
        self._count += 1
        return len(sealed).to_bytes(4, "big") + sealed

    def open(self, data: memoryview) -> tuple[Frame, int] | None:
        """Open the next frame at the head of `data`; return it and its length, None when there is no whole, genuine one."""
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 or not TAG_BYTES <= length <= min(MAX_FRAME, len(data) - 4):
            return None
        try:
            plain = self._cipher.decrypt(self._nonce(), data[4 : 4 + length], None)
            frame = self._decoder.decode(plain)
        except (InvalidTag, msgspec.MsgspecError):
            return None
        self._count += 1
        return frame, 4 + length

    def _nonce(self) -> bytes:
        return self._count.to_bytes(12, "big")


# --- records --------------------------------------------------------------------------------------------------------

_ENCODER: Final = msgspec.msgpack.Encoder(order=None)
_ODD: Final = b"\xc1"
"""Begins a record with texts that are no Unicode; msgpack never uses this byte."""


def packed(data: Any) -> bytes:
    """Encode plain data of a snapshot. Texts of phones may hold bytes that were no UTF-8 on the wire (surrogates)."""
    try:
        return _ENCODER.encode(data)
    except UnicodeEncodeError:
        return _ODD + _ENCODER.encode(_escaped(data))


def unpacked(record: bytes) -> Any:
    """Undo `packed`; tuples come back as lists. Raises msgspec.MsgspecError for anything else."""
    if record.startswith(_ODD):
        return _restored(msgspec.msgpack.decode(record[1:]))
    return msgspec.msgpack.decode(record)


def _escaped(data: Any) -> Any:
    match data:
        case str():
            return {"\0": data.encode("utf-8", "surrogatepass")} if not data.isascii() else data
        case dict():
            return {"\0\0": [[_escaped(key), _escaped(value)] for key, value in data.items()]}
        case list() | tuple() | set() | frozenset():
            return [_escaped(item) for item in data]
    return data


def _restored(data: Any) -> Any:
    match data:
        case {"\0": text}:
            return text.decode("utf-8", "surrogatepass")
        case {"\0\0": items}:
            return {_restored(key): _restored(value) for key, value in items}
        case list():
            return [_restored(item) for item in data]
    return data
