"""Somebody else's kernel, named `PACKAGE.MODULE:FUNCTION`, as an implementation of one of ours.

It gets the arguments of the registry's op: by name where it has parameters of those names,
else in the order of the op. What returns nothing is taken to have written its arguments.
A class of modules is made for each call, as `CLASS(width, eps=eps)`, gets the op's weight and is
called with what is left: so a norm layer of transformers, SGLang or torch is held to a norm.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage_kernels.core.errors import KernelError
from triage_kernels.core.spec import Args, KernelSpec, Outputs, as_tuple
from triage_kernels.validate.providers import declare_torchvision_operators


@dataclass(frozen=True, slots=True)
class Foreign:
    """The function of `foreign`, and what makes it again in another process."""

    target: str
    names: Mapping[str, str]
    call: Callable[..., Tensor | Outputs]

    def __call__(self, **args: Any) -> Tensor | Outputs:
        return self.call(**args)


def foreign(target: str, spec: KernelSpec, names: Mapping[str, str] | None = None) -> Foreign:
    """The function as `spec` would be called.

    Args:
        target: "package.module:function"; importing the module runs it.
        names: the op's argument -> the function's, where they differ.
    Raises:
        KernelError: there is no such module or function, or a name in `names` is neither's.
    """
    function = _function(target)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    layer = isinstance(function, type) and issubclass(function, torch.nn.Module)
    if layer:
        function = _of_module(function, spec, target)  # type: ignore[arg-type]
        parameters = {}  # type: ignore[assignment]
    renamed = dict(names or {})
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, theirs in renamed.items():
        if parameters and not takes_any and theirs not in parameters:
            raise KernelError(
                f"{target} has no parameter {theirs!r} for {name}; it has: {', '.join(parameters)}"
            )

    def call(**args: Any) -> Tensor | Outputs:
        named = {renamed.get(name, name): value for name, value in args.items()}
        by_name = takes_any or layer or set(named) <= set(parameters)
        # The interpreter is numpy: it warns where a GPU silently makes inf or NaN.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            result = function(**named) if by_name else function(*args.values())
        return _outputs(result, args, spec, target)

    return Foreign(target, renamed, call)


def _function(target: str) -> Callable[..., Any]:
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise KernelError(f"{target!r} is no function; allowed: PACKAGE.MODULE:FUNCTION")
    if module_name.split(".")[0] in ("sglang", "transformers"):
        declare_torchvision_operators()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other packages about themselves
            found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise KernelError(f"{target} cannot be had: {type(error).__name__}: {first}") from error
    if not callable(found):
        raise KernelError(f"{target} is a {type(found).__name__}, which cannot be called")
    function: Callable[..., Any] = found
    return function


def _of_module(module: type[torch.nn.Module], spec: KernelSpec, target: str) -> Callable[..., Any]:
    """A layer as a function of the op's arguments, of which one is its weight, [width]."""
    if spec.vectors != ("weight",):
        raise KernelError(
            f"{target} is a class of modules, which is held only to an op whose one vector is "
            f"`weight` (fused_rmsnorm); {spec.name} has: {', '.join(spec.vectors) or 'none'}"
        )

    def call(**args: Any) -> Any:
        weight, eps = args.pop("weight"), args.pop("eps")
        layer = module(weight.shape[0], eps=eps)
        layer.weight = torch.nn.Parameter(weight, requires_grad=False)
        with torch.no_grad():
            return layer(*args.values())

    return call


def _outputs(result: Any, args: Args, spec: KernelSpec, target: str) -> Outputs:
    if result is None:
        written = tuple(args[o.in_place] for o in spec.outputs if o.in_place)
        if written:
            return tuple(tensor for tensor in written if tensor is not None)
        raise KernelError(f"{target} returns nothing, and {spec.name} writes no argument")
    if isinstance(result, torch.Tensor):
        return (result,)
    return as_tuple(result)
