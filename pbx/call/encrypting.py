"""Who is encrypted: the site's rule, laid over by that of an account or trunk. Pure values.

in → out: whose leg it is and over which flow → what it may do (`Encryption`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pbx.sdp.encryption import Encryption, Policy
from pbx.sip.flow import Flow

SECURE_TRANSPORTS: Final = frozenset({"tls", "wss"})


@dataclass(frozen=True, slots=True)
class EncryptionRules:
    """What the site wants encrypted."""

    policy: Policy = "off"
    """Where nothing else is said."""
    of: Mapping[str, Policy] = field(default_factory=dict)
    """By the user name of an account, or the name of a trunk."""
    sdes_in_clear: bool = False
    """Keys may stand in SDP that anybody on the way can read."""

    def rule(self, name: str | None, flow: Flow, *, emergency: bool, secret: bytes) -> Encryption:
        """Return what a leg over `flow` may do; `name`: its account or trunk, `secret`: what its keys are made of."""
        policy = self.policy if name is None else self.of.get(name, self.policy)
        # RFC 4568: "The SDP crypto attribute requires the services of a data security protocol to secure the SDP message."
        sdes = flow.transport in SECURE_TRANSPORTS or self.sdes_in_clear
        return Encryption(policy, sdes=sdes, patient=emergency, secret=secret)
