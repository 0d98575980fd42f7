"""The outer shell of every hook: an error of our own never reaches SGLang.

The failure: a check stumbles over something that it does not know, and the exception leaves
through SGLang's forward and ends the server that it was to guard. So each hook runs inside a
shell. Only a TrapError leaves it, and what SGLang's own function raised. Any other exception
is ours: it is told once with its traceback, named under what is not covered, its own group of
hooks is switched off, and SGLang goes on with the result of its own function, which is called
exactly once. Every other group goes on.

A group is the hooks that share state, which stand or fall together: a ledger that misses half
of the events would raise false alarms. What is judged inside a hook beside other things is a
`part` of a name of its own. What every layer calls has its shell written out in `attention.py`
and `writes.py`, where an exception that is not raised costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from triage.errors import TrapError, log_own_error, type_and_place

Around = Callable[..., Any]
Beside = Callable[..., Generator[None, Any, None]]
"""What stands beside a context of SGLang's: see `Shell.around_context`."""
Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Behind = Callable[[Any, Any], None]
"""The halves of a hook that only looks on: see `Shell.beside`."""
T = TypeVar("T")


class Switch(Protocol):
    """What disarms all hooks at once."""

    armed: bool


class Shell:
    """Of the hooks of one `group`. `on` is False once one of them failed."""

    def __init__(self, group: str, shells: Shells, switched_off: Callable[[], None]) -> None:
        self.group = group
        self.on = True
        self._shells = shells
        self._switched_off = switched_off

    def failed(self, error: BaseException) -> None:
        """An error of ours: told once, counted, and the group is switched off. Never raises."""
        if not self.on:
            return
        self.on = False
        self._shells.failures[f"{self.group}: switched off"] = type_and_place(error)
        self._shells.internal_errors += 1
        try:
            self._switched_off()
        finally:
            log_own_error(
                "sglang-triage failed in its own code: %s. Switched off: %s; all else of ours "
                "and SGLang go on",
                type_and_place(error),
                self.group,
                error=error,
            )

    def around(self, hook: Around) -> Around:
        """`hook` inside this shell."""

        def shelled(original: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return original(*args, **kwargs)
            call = Original((original,))
            try:
                return hook(call, *args, **kwargs)
            except TrapError as error:
                if self.on or error is call.error:
                    raise
                # The group was switched off below: what it found since rests on half of it.
            except Exception as error:
                if error is call.error:
                    raise
                self.failed(error)
            if call.error is not None:  # ours came while SGLang's own was on its way
                raise call.error
            return call[1] if len(call) > 1 else original(*args, **kwargs)

        return shelled

    def beside(self, before: Before, behind: Behind, switch: Switch) -> Around:
        """A hook that only looks on, written out because it stands at every allocator call.

        `before(target, args, kwargs)` is called first and `behind(kept, result)` last, with what
        `before` returned: nothing where that is None. result: None where SGLang's function
        raised. Whatever they raise is ours; SGLang's own is called once and never caught.
        switch: while it is not armed, neither is called.
        """

        def shelled(original: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if not (self.on and switch.armed):
                return original(target, *args, **kwargs)
            kept = result = None
            try:
                kept = before(target, args, kwargs)
            except Exception as error:  # ours: told once, and SGLang goes on
                self.failed(error)
            if kept is None:
                return original(target, *args, **kwargs)
            try:
                result = original(target, *args, **kwargs)
            finally:
                try:
                    behind(kept, result)
                except Exception as error:  # ours, as above
                    self.failed(error)
            return result

        return shelled

    def around_context(self, beside: Beside) -> Around:
        """A hook on a function of SGLang's that returns a context manager.

        `beside(original, ...)` has the arguments and is a generator that calls nothing of
        SGLang's. It yields where SGLang's own context is entered, where the body runs, and
        where SGLang's is left; the second `yield` is what SGLang's context gave. SGLang's own
        is entered and left once, whatever becomes of ours, which is always run to its end.
        """

        def shelled(original: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return original(*args, **kwargs)
            return self._context(original, beside, args, kwargs)

        return shelled

    @contextmanager
    def _context(self, original: Any, beside: Beside, args: Any, kwargs: Any) -> Iterator[Any]:
        steps = beside(original, *args, **kwargs)

        def go_on(value: Any = None) -> None:
            try:
                steps.send(value)
            except StopIteration:
                return
            except TrapError:
                if self.on:
                    raise
            except Exception as error:
                self.failed(error)

        go_on()
        entered = False
        try:
            with original(*args, **kwargs) as value:
                entered = True
                go_on(value)
                try:
                    yield value
                finally:
                    go_on()
        finally:
            if entered:
                go_on()
            try:
                steps.close()
            except Exception as error:
                self.failed(error)

    def part(self, call: Callable[[], T], otherwise: Any) -> T:
        """`call()`, or `otherwise` once it failed: one thing of several that a hook judges."""
        if self.on:
            try:
                return call()
            except TrapError:
                raise
            except Exception as error:
                self.failed(error)
        instead: T = otherwise
        return instead


class Shells:
    """All shells of a process.

    failures: what was switched off -> why. internal_errors: how often something was.
    """

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.internal_errors = 0
        self._groups: dict[str, Shell] = {}

    def restart(self) -> None:
        """As in a new process."""
        self.failures.clear()
        self.internal_errors = 0
        for shell in self._groups.values():
            shell.on = True

    def of(self, group: str, switched_off: Callable[[], None] = lambda: None) -> Shell:
        """The shell of that name, made at its first use.

        switched_off: what else is to be done when the group is.
        """
        if group not in self._groups:
            self._groups[group] = Shell(group, self, switched_off)
        return self._groups[group]


class Original(list[Any]):
    """SGLang's function as a hook sees it: it remembers what came of its call.

    The function, and its result behind it once there is one. A list, because one is made at
    every call of every hook, and a list is made in C.
    """

    error: BaseException | None = None
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self[0](*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        self[1:] = (result,)
        return result

    def instead(self, other: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `other`, which does SGLang's work in its place: its errors are SGLang's."""
        try:
            result = other(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        self[1:] = (result,)
        return result

    def __getattr__(self, name: str) -> Any:
        return self[0] if name == "__wrapped__" else getattr(self[0], name)


def attempt(what: str, call: Callable[[], T], otherwise: Any) -> T:
    """`call()`, or `otherwise` where it fails: evidence is second to the fault that it is of."""
    try:
        return call()
    except Exception as error:
        log_own_error("sglang-triage: %s failed: %s", what, type_and_place(error), error=error)
        instead: T = otherwise
        return instead
