"""A defect goes below the hooks on a function, and leaves nothing behind."""

from __future__ import annotations

import functools
from typing import Any

from triage.lab.patching import replaced


class Target:
    def answer(self) -> str:
        return "right"

    @staticmethod
    def fixed() -> str:
        return "right"


def hooked(original: Any, seen: list[str]) -> Any:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        seen.append(result)
        return result

    return wrapper


def broken(original: Any) -> Any:
    return lambda self: "broken"


def test_without_a_hook_the_function_is_replaced_and_put_back():
    held = Target.__dict__["answer"]
    with replaced(Target, "answer", broken):
        assert Target().answer() == "broken"
    assert Target.__dict__["answer"] is held


def test_a_static_method_stays_one():
    with replaced(Target, "fixed", lambda original: lambda: "broken"):
        assert Target.fixed() == "broken"
    assert isinstance(Target.__dict__["fixed"], staticmethod) and Target.fixed() == "right"


def test_a_hook_that_stands_already_sees_the_defect(monkeypatch):
    # GIVEN a hook on the function
    seen: list[str] = []
    monkeypatch.setattr(Target, "answer", hooked(Target.answer, seen))
    wrapper = Target.answer
    # WHEN the function is broken for a while
    with replaced(Target, "answer", broken):
        assert Target.answer is wrapper
        Target().answer()
    Target().answer()
    # THEN the hook saw what SGLang would have done, and is where it was
    assert seen == ["broken", "right"]


def test_a_hook_that_is_bound_meanwhile_survives(monkeypatch):
    seen: list[str] = []
    monkeypatch.setattr(Target, "answer", Target.answer)  # puts it back after the test
    with replaced(Target, "answer", broken):
        Target.answer = hooked(Target.answer, seen)  # type: ignore[method-assign]
    Target().answer()
    assert seen == ["right"]
