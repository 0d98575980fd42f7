"""Where implementations come from: ours, and the kernels of the installed SGLang.

SGLang's files moved between 0.5.12 and 0.5.23, so a kernel is looked for by the text of
its definition, not by version. Where a file imports nothing but torch and triton it is
loaded on its own; where it imports SGLang, that import is made for real and a failure of
it is the reason reported. Nothing of SGLang is stubbed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage_kernels.core.errors import no_such
from triage_kernels.core.spec import KernelSpec, Outputs

PROVIDERS = ("ours", "sglang")

_FUSED_OPS = ("kernels/ops/layernorm/gemma4_fused_ops.py", "srt/layers/gemma4_fused_ops.py")
_ELEMENTWISE = ("kernels/ops/elementwise/elementwise.py", "srt/layers/elementwise.py")
_PLACES: dict[str, tuple[str, ...]] = {
    "gemma4_fused_routing": ("kernels/ops/moe/gemma4_routing.py", *_FUSED_OPS),
    "gemma_routing_post_topk": ("kernels/ops/moe/gemma4_routing.py", *_FUSED_OPS),
    "gemma_qkv_norm_rope": ("kernels/ops/attention/gemma_qkv_norm_rope.py",),
    "rmsnorm_fanout": ("kernels/ops/layernorm/rmsnorm_fanout.py",),
    **dict.fromkeys(("fused_rmsnorm", "fused_dual_residual_rmsnorm"), _ELEMENTWISE),
}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A provider that cannot run an op here, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Location:
    """Where the installed SGLang defines an op."""

    version: str
    path: Path
    relative: str


class _ClaimsCuda(Tensor):
    """A CPU tensor that says it is on CUDA, for wrappers that assert that before they launch."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


def sglang_root() -> Path | None:
    """The folder of the `sglang` package that would be imported, which stays unimported."""
    found = importlib.util.find_spec("sglang")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))


def sglang_version() -> str:
    """Version of that package: of the distribution beside it, wherever on the path it is."""
    root = sglang_root()
    if root is None:
        return "absent"
    for info in root.parent.glob("sglang-*.dist-info"):
        return importlib.metadata.Distribution.at(info).version
    return "unknown"


def locate(op: str) -> Location | Unavailable:
    """Find the file that defines `op` in the installed SGLang."""
    root = sglang_root()
    if root is None:
        return Unavailable("sglang is not installed")
    for relative in _PLACES.get(op, _FUSED_OPS):
        path = root / relative
        if path.is_file() and f"def {op}(" in path.read_text():
            return Location(sglang_version(), path, f"sglang/{relative}")
    return Unavailable(f"sglang {sglang_version()} has no {op}")


def declare_torchvision_operators() -> None:
    """Declare the operators that torchvision's Python side expects and a CPU torch has not.

    SGLang and transformers import torchvision at import time; its compiled operators do not
    load beside a torch of another build, and nothing here calls them.
    """
    if importlib.util.find_spec("torchvision") is None or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool"):
        library.define(f"{name}(Tensor x) -> Tensor")
    _KEPT.append(library)


_KEPT: list[torch.library.Library] = []  # a declaration lasts as long as its library


@functools.cache
def _load(path: Path) -> ModuleType | Unavailable:
    name = f"triage_kernels._sglang.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return Unavailable(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if "from sglang" in path.read_text():
        declare_torchvision_operators()
    try:
        spec.loader.exec_module(module)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        del sys.modules[name]
        first = str(error).splitlines()[0] if str(error) else ""
        return Unavailable(f"importing it fails: {type(error).__name__}: {first}")
    return module


def _adapt(op: str, call: Callable[..., Any], device: str) -> Callable[..., Tensor | Outputs]:
    """Give SGLang's wrapper the signature of the registry; in-place ops return what they wrote."""
    if op == "gemma_qkv_rmsnorm":

        def qkv_rmsnorm(q: Tensor, k: Tensor | None, v: Tensor | None, *rest: Any) -> Outputs:
            given = [
                t if t is None or device != "cpu" else t.as_subclass(_ClaimsCuda) for t in (q, k, v)
            ]
            call(*given, *rest)
            return (q,) if k is None or v is None else (q, k, v)

        return qkv_rmsnorm
    if op == "gemma_qkv_norm_rope":

        def norm_rope(
            q: Tensor, k: Tensor, v: Tensor, qw: Tensor, kw: Tensor, table: Tensor,
            positions: Tensor, heads: int, kv_heads: int, head_dim: int, eps: float,
        ) -> Outputs:  # fmt: skip
            call(q, k, v, qw, kw, table, positions, heads, kv_heads, head_dim, head_dim, eps)
            return q, k, v

        return norm_rope
    return call


def _by_name(call: Callable[..., Tensor | Outputs], quiet: bool) -> Callable[..., Tensor | Outputs]:
    """Take arguments by our names, in our order, which is SGLang's."""

    def by_name(**args: Any) -> Tensor | Outputs:
        if not quiet:
            return call(*args.values())
        # The interpreter is numpy: it warns where a GPU silently makes inf or NaN.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return call(*args.values())

    return by_name


def _why_not_on_cpu(op: str) -> str | None:
    return {
        "gemma_qkv_norm_rope": "calls libdevice mul_rn, which Triton's interpreter has not",
        "rmsnorm_fanout": "is CuTe-DSL on FlashInfer, not Triton",
    }.get(op)


def resolve(
    provider: str, spec: KernelSpec, device: str
) -> Callable[..., Tensor | Outputs] | Unavailable:
    """The implementation of `spec` by `provider`, or why there is none here."""
    if provider == "ours":
        return spec.fused or Unavailable("only SGLang ships this kernel")
    if provider != "sglang":
        raise no_such("provider", provider, PROVIDERS)
    location = locate(spec.name)
    if isinstance(location, Unavailable):
        return location
    if device == "cpu" and (reason := _why_not_on_cpu(spec.name)):
        return Unavailable(reason)
    if device == "cuda" and not torch.cuda.is_available():
        return Unavailable("no CUDA device")
    module = _load(location.path)
    if isinstance(module, Unavailable):
        return module
    return _by_name(_adapt(spec.name, getattr(module, spec.name), device), device == "cpu")
