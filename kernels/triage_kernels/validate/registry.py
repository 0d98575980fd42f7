"""The one list of kernels. Validation, ahead-of-time checks, bench and tests loop over it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from triage_kernels.core.errors import KernelError, no_such
from triage_kernels.core.spec import KernelSpec
from triage_kernels.ops import (
    dual_rmsnorm,
    gelu_tanh_mul,
    layer_tail,
    layer_tail_moe,
    post_attn_triple,
    preamble_spec,
    qkv_rmsnorm,
    qkv_rmsnorm_shared_kv,
    rmsnorm_add,
    rmsnorm_residual_scalar,
    routing,
    routing_post_topk,
    sglang_only,
    sglang_other,
)

KERNELS: tuple[KernelSpec, ...] = (
    routing.SPEC,
    routing_post_topk.SPEC,
    rmsnorm_residual_scalar.SPEC,
    rmsnorm_add.SPEC,
    dual_rmsnorm.SPEC,
    qkv_rmsnorm.SPEC,
    qkv_rmsnorm_shared_kv.SPEC,
    gelu_tanh_mul.SPEC,
    post_attn_triple.SPEC,
    layer_tail.SPEC,
    layer_tail_moe.SPEC,
    preamble_spec.SPEC,
    sglang_only.QKV_NORM_ROPE,
    sglang_only.RMSNORM_FANOUT,
    sglang_other.FUSED_RMSNORM,
    sglang_other.FUSED_DUAL_RESIDUAL_RMSNORM,
)
OURS: tuple[KernelSpec, ...] = tuple(spec for spec in KERNELS if spec.fused is not None)


def load(path: Path) -> KernelSpec:
    """The registry entry `SPEC` of a Python file outside this package.

    Raises:
        KernelError: the file has none, or cannot be imported; it is run to find out.
    """
    module_spec = importlib.util.spec_from_file_location(f"triage_kernels_also.{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise KernelError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    try:
        module_spec.loader.exec_module(module)
    except (OSError, SyntaxError, ImportError, AttributeError, NameError) as error:
        raise KernelError(f"importing {path} fails: {type(error).__name__}: {error}") from error
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, KernelSpec):
        raise KernelError(f"{path} defines no SPEC that is a KernelSpec")
    return spec


def select(names: Sequence[str], also: Sequence[KernelSpec] = ()) -> tuple[KernelSpec, ...]:
    """The kernels of those names, in registry order; all of them for no name.

    With `also`, those alone for no name.
    """
    known = {spec.name for spec in (*KERNELS, *also)}
    for name in names:
        if name not in known:
            raise no_such("kernel", name, sorted(known))
    if also and not names:
        return tuple(also)
    return tuple(spec for spec in (*KERNELS, *also) if not names or spec.name in names)
