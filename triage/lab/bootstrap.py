"""Make SGLang importable on a machine without a GPU, and the Triton kernels run in Python.

Two things stand between a CPU and SGLang's memory classes: Triton refuses to
launch without a driver (its interpreter must be chosen before the first
import), and torchvision's compiled operators do not load on a CPU build of
torch (their schemas must exist before it is imported). Nothing of SGLang is
changed here.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings

from triage.errors import UnsupportedSGLang
from triage.lab import interpreter

SUPPORTED = ("0.5.12.post1", "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")
"""Releases the lab constructs on; `triage doctor` reports what binds on others."""

_TORCHVISION_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois) -> Tensor",
    "roi_pool(Tensor input, Tensor rois) -> Tensor",
    "ps_roi_align(Tensor input, Tensor rois) -> Tensor",
    "ps_roi_pool(Tensor input, Tensor rois) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight) -> Tensor",
)
_keep_alive: list[object] = []


def prepare() -> str:
    """Import torch, Triton's interpreter and SGLang; return SGLang's version.

    Idempotent. Raises UnsupportedSGLang naming what is missing and what would do.
    """
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise UnsupportedSGLang(
            "triton was imported before the lab could choose its interpreter; "
            "set TRITON_INTERPRET=1 or run `triage lab` in a process of its own"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    version = sglang_version()
    if not _keep_alive:
        try:
            import torch
        except ModuleNotFoundError as error:
            raise UnsupportedSGLang(
                "the lab needs torch: pip install 'sglang-triage[lab]'"
            ) from error
        torch.set_num_threads(1)  # index tensors are small; threads cost more than they save
        _keep_alive.append(_define_torchvision_operators(torch))
        interpreter.hasten()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SGLang says at length that there is no GPU
            import sglang.srt.layers.attention.trtllm_mha_backend
            import sglang.srt.managers.schedule_batch  # noqa: F401
    return version


def sglang_version() -> str:
    """The version of the SGLang that `import sglang` would find, without importing it."""
    try:
        return importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedSGLang(
            f"no SGLang is installed; the lab runs on {', '.join(SUPPORTED)} "
            "(pip install --no-deps sglang==0.5.18)"
        ) from None


def _define_torchvision_operators(torch: object) -> object:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
    for schema in _TORCHVISION_OPERATORS:
        library.define(schema)
    return library
