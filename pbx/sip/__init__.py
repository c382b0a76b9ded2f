"""SIP without I/O: bytes → parser → message → transaction → dialog, and back by `encode()`.

in → out: one datagram, or the bytes of a stream, become `Request` and `Response` values or a `ParseError` that carries its own
answer. Values (`uri`, `headers`, `message`, `body`, `digest`) know the grammar; machines (`transaction`, `dialog`) know time.

Text is `str`, decoded as UTF-8 with `surrogateescape`: bytes that are not UTF-8 survive the way through unchanged. Bodies are bytes.

We don't do this: folded or compact headers on the way out; S/MIME; DNS (RFC 3263 is transport's); `Content-Encoding`.
"""
