"""Models of transformers import Triton here: without a GPU it must interpret, as the lab asks."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
