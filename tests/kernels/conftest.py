"""Triton decides at import whether it interprets: without a GPU it must."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
    # Tensors are small, and threads that wait for each other are slow on a busy machine.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> str:
    """Where kernels run: compiled on a GPU where there is one, else interpreted."""
    return "cuda" if torch.cuda.is_available() else "cpu"
