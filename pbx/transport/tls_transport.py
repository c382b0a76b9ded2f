"""TLS for a protocol that is not ours: what aiohttp takes for its transport.

in → out: what it writes → encrypted, to the socket's transport. The loop's own `start_tls` would take over only after a
first reading, which may hold the client's hello already.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from pbx.transport.tls import TlsFilter


class TlsTransport(asyncio.Transport):
    """The inner end of a TLS connection whose handshake is done."""

    def __init__(self, raw: asyncio.Transport, tls: TlsFilter, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._raw, self._tls, self._protocol = raw, tls, protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls.object
        if name == "sslcontext":
            return self._tls.object.context
        return self._raw.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._raw.is_closing():
            self._raw.write(self._tls.send(bytes(data)))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._raw.is_closing():
            self._raw.write(self._tls.close())
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        return self._raw.is_reading()
