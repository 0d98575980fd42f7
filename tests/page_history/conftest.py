"""Triton decides at import whether it interprets: without a GPU it must."""

from __future__ import annotations

import os

import pytest
import torch

from triage.sglang.allocator import page_recorder

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def on_host(request, monkeypatch):
    """Both ways in which an event is written: numpy, and one launch of the kernel, which is
    interpreted where there is no GPU."""
    where = request.param == "as on a CPU"
    monkeypatch.setattr(page_recorder, "is_host", lambda device: where)
    return where
