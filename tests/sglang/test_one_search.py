"""One search for all hooks binds what SGLang's own registry binds, under the same names."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.lab import versions

BOUND = """
import contextlib, json, sys, types
from pathlib import Path
from triage.lab import bootstrap
from triage.sglang.binding import one_search

bootstrap.prepare()
if sys.argv[1] == "own":
    one_search.one_search_for_all = contextlib.nullcontext
from triage.lab.process import start

start(traps=True, fixes=(), directory=Path(sys.argv[2]), checks="all")
bound = sorted(
    (module.__name__, name, value.__qualname__)
    for module in list(sys.modules.values())
    if isinstance(module, types.ModuleType)
    for name, value in list(vars(module).items())
    if isinstance(value, types.FunctionType)
    and value.__globals__.get("__name__") == "sglang.srt.plugins.hook_registry"
    and hasattr(value, "__wrapped__")
)
print("BOUND" + json.dumps(bound))
"""


def bound(version: str, search: str, directory) -> list[list[str]]:
    done = prepared.python("-c", BOUND, search, directory, version=version)
    assert "BOUND" in done.stdout, done.stderr
    return json.loads(done.stdout.rpartition("BOUND")[2])


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(each, marks=() if each == "0.5.18" else pytest.mark.slow)
        for each in ("0.5.12.post1", "0.5.14", "0.5.18", "0.5.23")
    ],
)
def test_the_same_names_hold_wrappers_as_after_sglangs_own_search(version, tmp_path):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked here")
    ours = bound(version, "ours", tmp_path)
    assert ours == bound(version, "own", tmp_path)
    names = [name for _, name, _ in ours]
    by_name = any(names.count(name) > 1 for name in names)  # also where it was imported by name
    assert by_name or version == "0.5.12.post1"  # where no target is
