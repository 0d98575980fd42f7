"""SGLang in this process, whichever release is first on the path (see ../test_releases.py)."""

from __future__ import annotations

import functools

import pytest

from triage.lab import bootstrap


@pytest.fixture(scope="session", autouse=True)
def release() -> str:
    """The version of the SGLang under test."""
    return bootstrap.prepare()


@pytest.fixture
def bind(monkeypatch):
    """Put a fix's hooks where SGLang's registry would, for one test."""
    import pkgutil

    def put(fix):
        for hook in fix.hooks():
            owner, _, name = hook.target.rpartition(".")
            function = getattr(pkgutil.resolve_name(owner), name)
            around = functools.partial(_call, hook.around, function)
            monkeypatch.setattr(pkgutil.resolve_name(owner), name, around_function(around))
        return fix

    return put


def _call(around, original, *args, **kwargs):
    return around(original, *args, **kwargs)


def around_function(partial):
    """A plain function, so that it binds as a method where its owner is a class."""

    def wrapper(*args, **kwargs):
        return partial(*args, **kwargs)

    return wrapper
