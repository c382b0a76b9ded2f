"""Session descriptions: bytes of SDP → `Description` → (offer/answer) → `Stream`s for the media process → bytes.

`codecs` knows when two payload formats are one, `addresses` where RTP may be sent to, `description` the text
(RFC 8866), `offer_answer` the negotiation (RFC 3264).

Not done here, and therefore refused in place or left out of answers: SRTP and DTLS profiles, ICE, BUNDLE, rtcp-mux
(RFC 5761), text and MSRP media, language negotiation (RFC 8373), layered multicast (`port/count`), host names in c=.
"""
