"""Make SGLang importable on a machine without a GPU, and the Triton kernels run in Python.

Two things stand between a CPU and SGLang's memory classes: Triton refuses to
launch without a driver (its interpreter must be chosen before the first
import), and torchvision's compiled operators do not load on a CPU build of
torch (then their schemas must exist before it is imported). A torchvision that
imports is left as it is. Nothing of SGLang is changed here.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from triage.errors import UnsupportedSGLang
from triage.lab import interpreter

SUPPORTED = ("0.5.12.post1", "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")
"""Releases the lab constructs on; `triage doctor` reports what binds on others."""

TO_INSTALL = (
    "pip install 'sglang-triage[lab]', then pip install --no-deps sglang==0.5.18 "
    "torchvision==0.28.0 xgrammar==0.2.1 compressed-tensors==0.20.0"
)
"""What makes the lab whole where `make` has not: the same as in `pyproject.toml`."""

_TORCHVISION_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois) -> Tensor",
    "roi_pool(Tensor input, Tensor rois) -> Tensor",
    "ps_roi_align(Tensor input, Tensor rois) -> Tensor",
    "ps_roi_pool(Tensor input, Tensor rois) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight) -> Tensor",
)
_OPERATOR_MISSING = re.compile(r"operator torchvision::\w+ does not exist")
_keep_alive: list[object] = []
_prepared = False


def prepare() -> str:
    """Import torch, Triton's interpreter and SGLang; return SGLang's version.

    Idempotent. Raises UnsupportedSGLang naming what is missing, or what SGLang's import
    raised, and what would do.
    """
    global _prepared
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise UnsupportedSGLang(
            "triton was imported before the lab could choose its interpreter; "
            "set TRITON_INTERPRET=1 or run `triage lab` in a process of its own"
        )
    os.environ["TRITON_INTERPRET"] = "1"
    version = sglang_version()
    if not _prepared:
        for package in ("torch", "triton"):
            need(package)
        try:
            with _uncollected():
                _import_sglang()
        except Exception as error:  # SGLang's own modules: whatever their import raises is told
            lacking = isinstance(error, ModuleNotFoundError)
            then = "`triage doctor` names the package that is to blame"
            raise UnsupportedSGLang(
                f"SGLang {version} cannot be imported: {type(error).__name__}: {error}; "
                f"{f'all that the lab needs: {TO_INSTALL}' if lacking else then}"
            ) from error
        _prepared = True
    return version


def need(package: str) -> None:
    """Raises UnsupportedSGLang, saying how to install it, where `package` cannot be imported."""
    try:
        importlib.import_module(package)
    except Exception as error:  # an import runs what it likes; the reason is told
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        raise UnsupportedSGLang(
            f"the lab needs {package}: {TO_INSTALL}"
            if missing
            else f"the lab needs {package}, which cannot be imported here: {error}; "
            "`triage doctor` says more"
        ) from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """No collection of garbage inside, nor ever of what is alive at the end.

    SGLang's modules are 600,000 objects that live as long as the process. Collections during the
    import, and those of its end, walk all of them: 3 of the 8 s that a process of the lab costs.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def _import_sglang() -> None:
    import torch

    torch.set_num_threads(1)  # index tensors are small; threads cost more than they save
    interpreter.speed_up()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SGLang says at length that there is no GPU
        logging.getLogger("sglang.kernels.jit.utils.arch").setLevel(logging.ERROR)  # and here
        stand_in_for_torchvision()
        import sglang.srt.layers.attention.trtllm_mha_backend
        import sglang.srt.managers.schedule_batch  # noqa: F401


def sglang_version() -> str:
    """The version of the SGLang that `import sglang` would find, without importing it."""
    try:
        return importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        raise UnsupportedSGLang(
            f"no SGLang is installed; the lab runs on {', '.join(SUPPORTED)}: {TO_INSTALL}"
        ) from None


def stand_in_for_torchvision() -> tuple[str, ...]:
    """Import torchvision, its operators' schemas defined here only where it has none.

    Where its compiled library does not load, its import fails at the first operator; then
    what is missing is defined, and it is imported again. Otherwise nothing is: a namespace
    of operators may be registered once a process, and the second to do so aborts it.

    Returns the names that were defined, none if torchvision is whole or absent.
    Raises whatever else its import raises, having removed what was half imported.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        return ()
    except Exception as error:  # of its operators only, else it is raised again
        _forget("torchvision")
        if not _OPERATOR_MISSING.search(str(error)):
            raise
    else:
        return ()
    defined = _define_missing_operators()
    importlib.import_module("torchvision")
    return defined


def _define_missing_operators() -> tuple[str, ...]:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    _keep_alive.append(library)
    missing = []
    for schema in _TORCHVISION_OPERATORS:
        name = schema.partition("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
            missing.append(name)
    return tuple(missing)


def _forget(package: str) -> None:
    """Remove what is left of a failed import, so that the next one starts anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
