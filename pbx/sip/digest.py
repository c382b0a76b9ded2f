"""Digest authentication, both sides (RFC 7616 with RFC 8760 for SIP; RFC 2617 peers without qop still work with MD5).

in → out: server: `challenges()` → header values; header value → `Credentials` → `verify()`. Client: challenge → `authorize()`.
Nonces are stateless (an HMAC over time and source), so a flood without credentials costs no memory; only nonces that were used
with the right password are remembered, to refuse their replay.

`auth-int` is understood from both sides, and offered by neither: bodies are rewritten on the way by NATs' helpers and by proxies,
and a phone that chose it would be locked out there.

We don't do this: as server `userhash`, which hides names from who may read the header but not From and To beside it;
`Authentication-Info` with `nextnonce`, for our nonces live a minute and refreshes are far apart, so the next one is stale anyway
and costs one more round; `rspauth`, which no phone checks.
"""

import hashlib
import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pbx.sip import grammar
from pbx.sip.errors import SipError

ALGORITHMS: Final[dict[str, str]] = {"SHA-256": "sha256", "SHA-512-256": "sha512_256", "MD5": "md5"}
"""Algorithm name in SIP → name in hashlib (RFC 7616 §6.1; MD5 for phones that know nothing else)."""

MAX_PARAMS: Final = 32
"""Parameters of one challenge or credentials: RFC 7616 defines fourteen."""

MAX_REMEMBERED: Final = 65_536
"""Nonces in use that `NonceCounts` remembers: 10,000 phones that refresh within a nonce's life use one each."""

_SCHEME: Final = re.compile(rf"[ \t]*+([{grammar.WORD_CHARS}]++)[ \t]*+")
_WINDOW: Final = 64  # requests of one phone that UDP may deliver out of order
_MAC_BYTES: Final = 16


def ha1(user: str, realm: str, password: str, algorithm: str) -> str:
    """H(user:realm:password) in lower-case hex: what is stored instead of the password (RFC 7616 §3.4.2)."""
    return _hash(algorithm, f"{user}:{realm}:{password}")


def dummy_ha1(secret: bytes, user: str, algorithm: str) -> str:
    """An HA1 nobody has the password of, always the same for a user: verifying against it costs and looks as for a real one."""
    seed = hmac.new(secret, b"no such user\x00" + _bytes(user), hashlib.sha256).hexdigest()
    return _hash(algorithm, seed)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hash(algorithm: str, data: str | bytes) -> str:
    raw = data if isinstance(data, bytes) else _bytes(data)
    return hashlib.new(ALGORITHMS[algorithm], raw, usedforsecurity=False).hexdigest()


class Nonces:
    """Makes and checks nonces. Only the holder of `secret` can make one; each is bound to where it was issued to.

    `now` may be any clock that never goes back while the secret lives; `lifetime` is in its seconds.
    """

    def __init__(self, secret: bytes, lifetime: float = 60.0) -> None:
        self._secret = secret
        self._lifetime = lifetime
        self._serial = 0

    def issue(self, now: float, source: str) -> str:
        """A new nonce for `source` (an IP address, say)."""
        self._serial += 1  # two phones behind one address must not share a nonce: their counts would clash
        stamp = struct.pack("!dI", now, self._serial & 0xFFFFFFFF)
        return urlsafe_b64encode(stamp + self._mac(stamp, source)).decode("ascii")

    def check(self, nonce: str, now: float, source: str) -> Literal["ok", "stale", "bad"]:
        """`ok`; `stale`: ours but too old, the phone may retry without asking its user; `bad`: not ours, or not this source's."""
        try:
            raw = urlsafe_b64decode(nonce.encode("ascii"))
        except ValueError:  # not ASCII or not base64
            return "bad"
        stamp, mac = raw[:12], raw[12:]
        if len(stamp) < 12 or not hmac.compare_digest(mac, self._mac(stamp, source)):
            return "bad"
        issued: float = struct.unpack("!dI", stamp)[0]
        return "ok" if 0 <= now - issued <= self._lifetime else "stale"

    def _mac(self, stamp: bytes, source: str) -> bytes:
        return hmac.new(self._secret, stamp + _bytes(source), hashlib.sha256).digest()[:_MAC_BYTES]


class NonceCounts:
    """Refuses a second use of the same credentials (RFC 7616 §3.4 nc). Bounded: the nonce used longest ago is forgotten first.

    Ask only about credentials that `verify()` found right, so that strangers can't fill it. Counted per nonce and cnonce: a phone
    that starts again at 1 with a fresh cnonce is honest. Credentials without qop have no count: their nonce is good once.
    """

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._seen: OrderedDict[tuple[str, str], tuple[int, int]] = (
            OrderedDict()
        )  # → highest nc, bits of those below it

    def __len__(self) -> int:
        return len(self._seen)

    def accept(self, credentials: "Credentials") -> bool:
        """Take these credentials; False when they, or too many later ones, were taken before."""
        key = (credentials.nonce, credentials.cnonce or "")
        count = credentials.nc if credentials.nc is not None else 1
        highest, bits = self._seen.get(key, (0, 0))
        if count > highest:
            bits = (bits << (count - highest) | 1) & (1 << _WINDOW) - 1 if count - highest < _WINDOW else 1
            highest = count
        else:
            behind = highest - count
            if behind >= _WINDOW or bits >> behind & 1:
                return False
            bits |= 1 << behind
        self._seen[key] = (highest, bits)
        self._seen.move_to_end(key)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True

    def snapshot(self) -> list[list[str | int]]:
        """Plain data: [nonce, cnonce, highest, bits as hex] per nonce, longest unused first."""
        return [[nonce, cnonce, high, f"{bits:x}"] for (nonce, cnonce), (high, bits) in self._seen.items()]

    @classmethod
    def restore(cls, data: Sequence[Sequence[str | int]], limit: int = MAX_REMEMBERED) -> "NonceCounts":
        counts = cls(limit)
        for nonce, cnonce, highest, bits in data:
            counts._seen[str(nonce), str(cnonce)] = (int(highest), int(str(bits), 16))
        return counts


def challenges(
    realm: str, nonce: str, *, stale: bool = False, algorithms: Sequence[str] = ("SHA-256", "MD5")
) -> list[str]:
    """Values for WWW-Authenticate or Proxy-Authenticate, one header each, in the order given.

    RFC 8760 §2.3: "the UAS ... MUST add these header fields ... in order of preference".
    """
    tail = ", stale=true" if stale else ""
    return [
        f'Digest realm={grammar.quote(realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{tail}'
        for algorithm in algorithms
    ]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an Authorization or Proxy-Authorization header of scheme Digest says. `algorithm` without `-sess`."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    sess: bool = False
    qop: str | None = None
    cnonce: str | None = None
    nc: int | None = None
    opaque: str | None = None


def parse_credentials(value: str) -> Credentials:
    """Read one Authorization value. Raises SipError(401) for a scheme or algorithm we do not know, SipError(400) for a malformed one."""
    params = _parse_digest(value)
    algorithm, sess = _algorithm(params.get("algorithm", "MD5"))
    if algorithm not in ALGORITHMS:
        raise SipError(401)
    qop, nc, cnonce = params.get("qop"), params.get("nc"), params.get("cnonce")
    count: int | None = None
    if qop is not None:
        qop = grammar.lower(qop)
        # RFC 7616 §3.4: cnonce and nc "MUST be" present with qop; nc is 8LHEX.
        if qop not in ("auth", "auth-int") or cnonce is None or nc is None or not _is_hex(nc, 8):
            raise SipError(400, "Malformed credentials")
        count = int(nc, 16)
    try:
        username, realm, nonce = params["username"], params["realm"], params["nonce"]
        uri, response = params["uri"], params["response"]
    except KeyError:
        raise SipError(400, "Malformed credentials") from None
    opaque = params.get("opaque")
    return Credentials(
        username, realm, nonce, uri, grammar.lower(response), algorithm, sess, qop, cnonce, count, opaque
    )


def find_credentials(values: Iterable[str], realm: str) -> Credentials | None:
    """The first Digest credentials for `realm` among the values of all Authorization headers; None when there are none.

    Other schemes and algorithms are passed over (RFC 4475 §3.3.7). Raises SipError(400) for malformed ones.
    """
    for value in values:
        try:
            credentials = parse_credentials(value)
        except SipError as error:
            if error.status != 401:
                raise
            continue
        if credentials.realm == realm:
            return credentials
    return None


def verify(credentials: Credentials, method: str, body: bytes, ha1_by_algorithm: Mapping[str, str]) -> bool:
    """Tell whether the response is the one the HA1 gives. An algorithm without an HA1 is refused at the same cost.

    For an unknown user pass `dummy_ha1`s: work and verdict are those of a wrong password. Check the nonce first
    (`Nonces.check`) and its count afterwards (`NonceCounts.accept`).
    """
    stored = ha1_by_algorithm.get(credentials.algorithm)
    wanted = _response(credentials, stored or "", method, body)
    right = hmac.compare_digest(wanted.encode("ascii"), _bytes(credentials.response))
    # RFC 7616 knows no SHA response without qop; only RFC 2617's MD5 has that form.
    return right and stored is not None and (credentials.qop is not None or credentials.algorithm == "MD5")


def _response(c: Credentials, key: str, method: str, body: bytes) -> str:
    """RFC 7616 §3.4.1 to §3.4.3."""
    if c.sess:
        key = _hash(c.algorithm, f"{key}:{c.nonce}:{c.cnonce or ''}")
    a2 = f"{method}:{c.uri}"
    if c.qop == "auth-int":
        a2 += f":{_hash(c.algorithm, body)}"
    a2 = _hash(c.algorithm, a2)
    if c.qop is None:
        return _hash(c.algorithm, f"{key}:{c.nonce}:{a2}")
    return _hash(c.algorithm, f"{key}:{c.nonce}:{c.nc or 0:08x}:{c.cnonce or ''}:{c.qop}:{a2}")


def choose_challenge(values: Iterable[str]) -> str | None:
    """The topmost challenge we can answer (RFC 8760 §2.4: "the UAC ... MUST use the topmost header field that it supports")."""
    for value in values:
        try:
            params = _parse_digest(value)
        except SipError:
            continue
        if (
            _algorithm(params.get("algorithm", "MD5"))[0] in ALGORITHMS
            and {"realm", "nonce"} <= params.keys()
        ):
            return value
    return None


def read_challenge(value: str) -> dict[str, str]:
    """The parameters of a Digest challenge, names in lower case. Raises SipError(401) for another scheme, 400 for a malformed one."""
    return _parse_digest(value)


def authorize(
    challenge_value: str,
    *,
    user: str,
    password: str,
    method: str,
    uri: str,
    cnonce: str,
    nc: int,
    body: bytes = b"",
) -> str:
    """The value of Authorization (or Proxy-Authorization) that answers a challenge.

    `nc` counts our requests with this nonce from 1; `cnonce` is fresh random text. qop "auth" is preferred to "auth-int"; without
    qop the answer is RFC 2617's. Raises SipError(401) for a challenge we can't answer, SipError(400) for a malformed one.
    """
    params = _parse_digest(challenge_value)
    named = params.get("algorithm")
    algorithm, sess = _algorithm(named or "MD5")
    if algorithm not in ALGORITHMS:
        raise SipError(401, "Unknown digest algorithm")
    if "realm" not in params or "nonce" not in params:
        raise SipError(400, "Malformed challenge")
    realm, nonce = params["realm"], params["nonce"]
    offered = [grammar.lower(word.strip(" \t")) for word in params.get("qop", "").split(",")]
    qop = next((known for known in ("auth", "auth-int") if known in offered), None)
    credentials = Credentials(user, realm, nonce, uri, "", algorithm, sess, qop, cnonce, nc)
    response = _response(credentials, ha1(user, realm, password, algorithm), method, body)
    # RFC 7616 §3.4.4: who asks for it is given the hash of the user's name instead; A1 is made of the name as ever.
    hashed = grammar.lower(params.get("userhash", "")) == "true"
    name = _hash(algorithm, f"{user}:{realm}") if hashed else user
    fields = [
        f"{key}={grammar.quote(text)}"
        for key, text in (("username", name), ("realm", realm), ("nonce", nonce))
    ]
    if hashed:
        fields.append("userhash=true")
    fields += [f"uri={grammar.quote(uri)}", f'response="{response}"']
    if named is not None:
        fields.append(f"algorithm={named}")
    if qop is not None:
        fields += [f"qop={qop}", f"nc={nc:08x}"]
    if qop is not None or sess:
        fields.append(f"cnonce={grammar.quote(cnonce)}")
    if "opaque" in params:
        fields.append(f"opaque={grammar.quote(params['opaque'])}")
    return "Digest " + ", ".join(fields)


def _algorithm(text: str) -> tuple[str, bool]:
    name = text.upper() if text.isascii() else text
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(char in "0123456789abcdefABCDEF" for char in text)


def _parse_digest(value: str) -> dict[str, str]:
    """The parameters of a Digest challenge or of credentials, names in lower case, quotes undone."""
    match = _SCHEME.match(value)
    if match is None or grammar.lower(match[1]) != "digest":
        raise SipError(401, "Unknown authentication scheme")
    params: dict[str, str] = {}
    pieces = grammar.split_quoted(value[match.end() :])
    if len(pieces) > MAX_PARAMS:
        raise SipError(400, "Malformed credentials")
    for piece in pieces:
        if not piece:
            continue
        name, equals, text = piece.partition("=")
        name, text = grammar.lower(name.rstrip(" \t")), text.lstrip(" \t")
        whole = grammar.quoted_end(text, 0) == len(text) if text.startswith('"') else '"' not in text
        if not equals or not grammar.is_token(name) or not whole or name in params:
            raise SipError(400, "Malformed credentials")
        params[name] = grammar.unquote(text)
    return params
