"""What tests of the call share."""

from tests.kit.scribe import scribe

__all__ = ["scribe"]
