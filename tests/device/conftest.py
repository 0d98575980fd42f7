"""Triton decides at import whether it interprets: without a GPU it must."""

from __future__ import annotations

import os

import torch

from triage.lab import interpreter

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
    interpreter.speed_up()  # as where a test in this process used the lab before
