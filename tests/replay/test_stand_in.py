"""Where the lab's stand-in is `flashinfer`, no release is installed: it is asked, and no error."""

from __future__ import annotations

import sys

from triage.lab.flashinfer_stub import StandInFlashInfer
from triage.resolver.pins import installed


def test_the_stand_in_is_no_release(monkeypatch):
    monkeypatch.setitem(sys.modules, "flashinfer", StandInFlashInfer(lambda call: None).module)
    assert installed() is None
