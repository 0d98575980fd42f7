"""Wrappers that have the very signature of what they wrap.

The failure: a hook that takes `*args, **kwargs` builds a dict of SGLang's fourteen
keywords and takes it apart again, a microsecond at each of 42 layers, before it has
looked at anything. The rule: the wrapper is written out with the parameters of the
original, as dataclasses write out their `__init__`, and hands them on by position;
what it does in between are calls of ordinary functions.

An original that takes `**kwargs` itself, as another plugin's wrapper does, gets a
wrapper that hands on exactly what came.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from triage.errors import InstallError

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one function as source text.

    declared: what stands in the wrapper's `def`; defaults are names out of `defaults`.
    passed: what stands in its call of the original.
    rest: the name of the parameter that takes further keywords, "" if there is none.
    names: the named parameters, in order.
    """

    declared: str
    passed: str
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    rest: str = ""

    @classmethod
    def of(cls, function: Function) -> Parameters:
        """Those of `function` itself: what a wrapper claims to wrap is not asked."""
        declared, passed, names = [], [], []
        defaults: dict[str, Any] = {}
        star, rest = False, ""
        for each in inspect.signature(function, follow_wrapped=False).parameters.values():
            text = each.name
            if each.kind is each.VAR_POSITIONAL:
                declared.append(f"*{text}")
                passed.append(f"*{text}")
                star = True
                continue
            if each.kind is each.VAR_KEYWORD:
                declared.append(f"**{text}")
                passed.append(f"**{text}")
                rest = text
                continue
            names.append(text)
            if each.kind is each.KEYWORD_ONLY and not star:
                declared.append("*")
                star = True
            if each.default is not each.empty:
                defaults[text] = each.default
                text = f"{text}=_default_{text}"
            declared.append(text)
            passed.append(f"{each.name}={each.name}" if star else each.name)
        return cls(", ".join(declared), ", ".join(passed), tuple(names), defaults, rest)

    @property
    def named(self) -> bool:
        """Is every argument a parameter of its own name?"""
        return "*" not in self.declared.replace("*, ", "")

    def require(self, function: Function, *wanted: str) -> None:
        """Raise InstallError unless the function has these parameters."""
        missing = [name for name in wanted if name not in self.names]
        if missing:
            raise InstallError(
                f"{function.__module__}.{function.__qualname__} has no parameter "
                f"{', '.join(missing)}; it has {', '.join(self.names)}"
            )


def written_out(original: Function, parameters: Parameters, body: str, **names: Any) -> Function:
    """A function with those parameters that runs `body`.

    Args:
        body: lines of Python; the line `return original(PASSED)` calls the original.
            Without further keywords it hands on none: an empty `**kwargs` costs a dict,
            a tuple and a C frame, 100 ns.
        names: what `body` refers to besides the parameters, `original` and `PASSED`.
    """
    lines = "\n".join(
        f"        {line}" for each in body.strip().splitlines() for line in _bare(each, parameters)
    )
    source = (
        f"def make({', '.join(['original', *names, *_default_names(parameters)])}):\n"
        f"    def wrapper({parameters.declared}):\n"
        f"{lines.replace('PASSED', parameters.passed)}\n"
        "    return wrapper\n"
    )
    scope: dict[str, Any] = {}
    name = getattr(original, "__qualname__", type(original).__qualname__)  # a callable object
    exec(compile(source, f"<sglang-triage around {name}>", "exec"), scope)
    defaults = {f"_default_{name}": value for name, value in parameters.defaults.items()}
    return functools.wraps(original)(scope["make"](original, **names, **defaults))


def _bare(line: str, parameters: Parameters) -> list[str]:
    """The line, behind a call without `**kwargs` for where there are none."""
    indent, call, rest = line.partition("return original(PASSED)")
    if not call or rest or not parameters.rest or "*args" in parameters.passed:
        return [line]
    bare = parameters.passed.removesuffix(f"**{parameters.rest}").removesuffix(", ")
    return [f"{indent}if not {parameters.rest}:", f"{indent}    return original({bare})", line]


def _default_names(parameters: Parameters) -> list[str]:
    return [f"_default_{name}" for name in parameters.defaults]
