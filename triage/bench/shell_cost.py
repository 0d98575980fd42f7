"""What the shells around our hooks cost a forward: with them and without, in turns, in one process.

    python -m triage.bench.shell_cost [ROUNDS]         a record of all three modes, as JSON
    python -m triage.bench.shell_cost MODE [ROUNDS]    the figures of one mode, as JSON

The forward is that of `bound_forward.py`: SGLang's own backend, 42 layers, 64 rows, hooks as
`install` binds them. Without shells the hooks are called as they are, and the wrappers that are
written out have no `try` around what is ours. A round measures three turns in drawn order:
with, without, and with once more; of each turn the quickest forward. With over without is what
shells cost; with over with, the same code twice, is the noise that it stands beside.
"""

from __future__ import annotations

import ast
import json
import pkgutil
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from types import CodeType, FunctionType
from typing import Any
from unittest import mock

from triage.bench.bound_forward import prepared

ROUNDS, TURN = 40, 60
MODES = ("raise", "contain", "log")
SHELLED = "Shell.around.<locals>.shelled"
CHAIN = "_chain.<locals>.around"


class Shells:
    """The hooks of this process, each with its shell and without. Made while they are bound."""

    def __init__(self) -> None:
        self._written: list[tuple[FunctionType, CodeType, CodeType]] = []
        self._registered: list[tuple[Any, Any, Any]] = []  # a cell, a hook, what is in its shell

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Inside, hooks are made and bound."""
        from triage.sglang.binding import wrapping

        written_out = wrapping.written_out

        def both(original: Any, parameters: Any, body: str, **names: Any) -> Any:
            made: Any = written_out(original, parameters, body, **names)
            bare: Any = written_out(original, parameters, without_try(body), **names)
            self._written.append((made, made.__code__, bare.__code__))
            return made

        with ExitStack() as stack:
            for module in list(sys.modules.values()):
                if vars(module).get("written_out") is written_out:
                    stack.enter_context(mock.patch.object(module, "written_out", both))
            yield

    def find(self, functions: list[Any]) -> None:
        """Look through SGLang's wrappers of these for hooks of ours."""
        for function in functions:
            while function is not None:
                for cell in getattr(function, "__closure__", None) or ():
                    hook = cell.cell_contents
                    if isinstance(hook, FunctionType) and bare_of(hook) is not hook:
                        self._registered.append((cell, hook, bare_of(hook)))
                function = getattr(function, "__wrapped__", None)

    def set(self, *, on: bool) -> None:
        for function, code, bare in self._written:
            function.__code__ = code if on else bare
        for cell, hook, bare in self._registered:
            cell.cell_contents = hook if on else bare

    @property
    def counted(self) -> tuple[int, int]:
        """Wrappers that are written out, and hooks of SGLang's registry."""
        return len(self._written), len(self._registered)


def bare_of(hook: Any) -> Any:
    """The hook that stands in a shell; of several on one target each."""
    if not isinstance(hook, FunctionType):
        return hook
    named = dict(zip(hook.__code__.co_freevars, hook.__closure__ or (), strict=True))
    if hook.__qualname__ == SHELLED:
        return named["hook"].cell_contents
    if hook.__qualname__ == CHAIN:
        from triage.sglang.binding.hooks import _chain

        unlinked = named["unlinked"].cell_contents
        return _chain([bare_of(each) for each in named["arounds"].cell_contents], unlinked)
    return hook


def without_try(body: str) -> str:
    """The body of a wrapper whose errors of ours are not caught.

    The names of the handlers stay, so that the code has the same free variables.
    """
    tree = ast.parse(f"def wrapper():\n{_indented(body)}")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    lines: list[ast.stmt] = []
    names: set[str] = set()
    for statement in function.body:
        if isinstance(statement, ast.Try) and statement.handlers:
            lines += statement.body
            for handler in statement.handlers:
                names |= {each.id for each in ast.walk(handler) if isinstance(each, ast.Name)}
        else:
            lines.append(statement)
    text = "\n".join(ast.unparse(each) for each in lines)
    return f"{text}\nif False: {', '.join(sorted(names))}" if names else text


def _indented(body: str) -> str:
    return "\n".join(f"    {line}" for line in body.strip("\n").splitlines())


def measure(mode: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """Ratios of one mode, each with its spread, and microseconds of a forward."""
    from triage.lab import bootstrap

    bootstrap.prepare()
    shells = Shells()
    with shells.noted():
        at_work = ExitStack()
        decode, installed = at_work.enter_context(prepared(mode))
    with at_work:
        from triage.bench.watch_cost import no_kernels  # Triton, behind the lab's own choice

        shells.find([pkgutil.resolve_name(each.target) for each in installed.bindings])
        at_work.enter_context(no_kernels())
        return {"mode": mode, **_compared(shells, lambda: decode.run(installed.traps), rounds)}


def _compared(shells: Shells, call: Callable[[], None], rounds: int) -> dict[str, Any]:
    cost, noise, with_us, without_us = [], [], [], []
    draw = random.Random(0)
    for _ in range(rounds):
        turns = [("with", True), ("without", False), ("again", True)]
        draw.shuffle(turns)
        found = {}
        for name, on in turns:
            shells.set(on=on)
            found[name] = _quickest_us(call)
        cost.append(found["with"] / found["without"])
        noise.append(found["with"] / found["again"])
        with_us.append(found["with"])
        without_us.append(found["without"])
    shells.set(on=True)
    written, registered = shells.counted
    return {
        "cost": spread(cost),
        "noise": spread(noise),
        "with_us": min(with_us),
        "without_us": min(without_us),
        "wrappers": written,
        "hooks": registered,
        "rounds": rounds,
    }


def _quickest_us(call: Callable[[], None]) -> float:
    """The first calls make CPython's inline caches anew for the code that was exchanged."""
    best = float("inf")
    for _ in range(TURN):
        started = time.thread_time()
        call()
        best = min(best, time.thread_time() - started)
    return best * 1e6


def spread(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the values that a tenth lies below and above."""
    tenths = statistics.quantiles(ratios, n=10) if len(ratios) > 1 else ratios * 9
    return statistics.median(ratios), tenths[0], tenths[-1]


def record(found: list[dict[str, Any]]) -> dict[str, Any]:
    """As `record_table` prints it."""

    def ratio(of: tuple[float, float, float]) -> str:
        return f"{of[0]:.3f} ({of[1]:.3f} to {of[2]:.3f})"

    return {
        "measured": date.today().isoformat(),
        "on": "two cores of a CPU, shared",
        "command": "python -m triage.bench.shell_cost",
        "columns": [
            "Mode",
            "with shells / without",
            "with / with, the noise",
            "a forward with, without",
            "wrappers, hooks",
        ],
        "rows": [
            [
                each["mode"],
                ratio(each["cost"]),
                ratio(each["noise"]),
                f"{each['with_us']:.0f}, {each['without_us']:.0f} us",
                f"{each['wrappers']}, {each['hooks']}",
            ]
            for each in found
        ],
    }


def main(arguments: list[str]) -> None:
    if arguments[:1] and arguments[0] in MODES:
        print(json.dumps(measure(arguments[0], *map(int, arguments[1:]))))
        return
    found = []
    for mode in MODES:
        command = [sys.executable, "-m", "triage.bench.shell_cost", mode, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps(record(found), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
