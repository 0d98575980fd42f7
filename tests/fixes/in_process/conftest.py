"""SGLang in this process, whichever release is first on the path (see ../test_releases.py)."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from triage.lab import bootstrap
from triage.verify.binding import bound


@pytest.fixture(scope="session", autouse=True)
def release() -> str:
    """The version of the SGLang under test."""
    return bootstrap.prepare()


@pytest.fixture
def bind():
    """Put a fix's hooks where SGLang's registry would, for one test."""
    with ExitStack() as stack:
        yield lambda fix: stack.enter_context(bound(fix))
