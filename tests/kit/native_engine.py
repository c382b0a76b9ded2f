"""The engine a test asks for, or the end of that test: failed in CI, left out elsewhere, with the reason either way."""

import os

import pytest

from rtp.native import NoEngineError, choose
from rtp.parts import Parts


def demand(engine: str) -> Parts:
    """Give the parts of an engine; where the native one was not built a test run in CI (`CI` is set) fails."""
    try:
        return choose(engine)
    except NoEngineError as error:
        if os.environ.get("CI"):
            pytest.fail(f"in CI both engines are tested: {error}")
        pytest.skip(str(error))
