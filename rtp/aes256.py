"""AES_256_CM_HMAC_SHA1_80 and _32 (RFC 6188) by libsrtp, which knows them; pylibsrtp 1.0 has no profile that names them.

libsrtp sets such a policy by functions of its public API (srtp.h). pylibsrtp does not wrap those two, but the library it carries
exports them, so they are called there, on pylibsrtp's own policy. Where a build hides them the suites are not offered.
"""

import ctypes
from collections.abc import Callable
from typing import Final

import pylibsrtp
from pylibsrtp import Policy, _binding

_Set = Callable[[ctypes.c_void_p], None]


def _function(name: str) -> _Set | None:
    """Find `void NAME(srtp_crypto_policy_t *)` in the library that pylibsrtp uses."""
    try:
        found = getattr(ctypes.CDLL(_binding.__file__), name)
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_void_p]
    found.restype = None
    return found  # type: ignore[no-any-return]  # ctypes knows no types


_SET_80: Final = _function("srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80")
_SET_32: Final = _function("srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32")
AVAILABLE: Final = _SET_80 is not None and _SET_32 is not None


def policy(key: bytes, direction: int, *, short: bool) -> Policy:
    """Make the policy of one direction. `key`: 32 bytes of key and 14 of salt; `short`: RTP has a tag of 32 bits.

    RFC 6188 §4: for SRTCP the tag has 80 bits in both suites. ValueError for a key of another length.
    """
    if len(key) != 46:
        raise ValueError("AES_256_CM has a key of 32 bytes and a salt of 14")
    assert _SET_80 is not None, "nobody uses a suite that is not available"
    assert _SET_32 is not None, "as above"
    made = Policy(key=key, ssrc_type=direction)
    inside = made._policy  # noqa: SLF001  # there is no other way to it
    (_SET_32 if short else _SET_80)(_address(inside.rtp))
    _SET_80(_address(inside.rtcp))
    return made


def _address(of: object) -> ctypes.c_void_p:
    ffi = pylibsrtp.ffi  # type: ignore[attr-defined]
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", ffi.addressof(of))))
