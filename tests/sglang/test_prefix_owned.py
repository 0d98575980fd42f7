"""A prefix cache does not free what its own tree has (I17): told from host integers."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.invariants.found import Found
from triage.lab import versions

PLAYED = [
    pytest.param("0.5.18", "default", ("unified", "swa-radix"), id="default"),
    pytest.param("0.5.23", "default", ("unified",), id="compiled core"),
    pytest.param("0.5.18", "lifecycle", ("unified", "swa-radix"), marks=pytest.mark.slow),
    *(
        pytest.param(version, "default", ("swa-radix",), marks=pytest.mark.slow)
        for version in ("0.5.12.post1", "0.5.14", "0.5.15.post1")
    ),
]


@pytest.mark.parametrize(("version", "checks", "caches"), PLAYED)
def test_a_mark_that_a_chunks_insert_left_behind_is_told(tmp_path, version, checks, caches):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python(
        "-m", "tests.sglang.prefix_owned_child", tmp_path, checks, *caches, version=version
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for cache in caches:
        sound, harmed = told[f"{cache}, sound"], told[f"{cache}, harmed"]
        # GIVEN every caching of a sound run compared, and nothing said
        assert sound["compared"] > 10 and not sound["logged"] and not sound["trapped"], cache
        # AND a chunk whose pages went into the tree, its request's mark left where it was
        assert harmed["harmed"] == 1
        # THEN it is raised where it is asked for, and logged with a dump by default, as are counts
        kind = str(Found.TREE_TOKENS_AS_OWN)
        first = next(each for each in harmed["logged"] if each != str(Found.COUNTED_TWICE))
        assert first == kind, cache
        assert harmed["named"][harmed["logged"].index(kind)] == "freed-page", cache
        assert harmed["trapped"] == ("" if checks == "default" else kind)
        assert not sound["internal"] and not harmed["internal"]
