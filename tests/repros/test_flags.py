"""No flag of a reproducer is stale: each release's own parsers are asked."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions
from triage.lab.server_flags import split

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "repros").glob("*.sh"))

NO_PIECEWISE_GRAPHS = {"gemma4_e2b_kv_shared_graph.sh server": "--enforce-piecewise-cuda-graph"}
REFUSED = {None: {}, "0.5.12.post1": {}, "0.5.23": NO_PIECEWISE_GRAPHS}

ASK_ALL = """
import json, sys
from triage.lab import bootstrap
from triage.lab.server_flags import FlagsRefused, check_bench, check_server
bootstrap.prepare()
checks = {"server": check_server, "bench": check_bench}
refused = {}
for script, kind, flags in json.loads(sys.argv[1]):
    try:
        checks[kind](flags)
    except FlagsRefused as error:
        refused[f"{script} {kind}"] = str(error)
print("REFUSED" + json.dumps(refused))
"""


def commands(script: Path) -> list[tuple[str, str, list[str]]]:
    """(script, "server", flags): what each script hands to SGLang beside `lab serve`'s own."""
    done = subprocess.run(
        ["bash", str(script), "--dry-run"],
        env={**os.environ, "PYTHON": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(each for each in done.stdout.splitlines() if each.startswith("triage lab serve"))
    flags = shlex.split(line.partition(" -- ")[2])
    return [(script.name, "server", ["--model-path", "m", *flags])]


def refused(version: str | None, asked: list[tuple[str, str, list[str]]]) -> dict[str, str]:
    done = prepared.python("-c", ASK_ALL, json.dumps(asked), version=version)
    assert "REFUSED" in done.stdout, done.stderr
    return json.loads(done.stdout.rpartition("REFUSED")[2])


@pytest.mark.parametrize("version", REFUSED, ids=lambda version: version or "installed")
def test_every_flag_of_every_script_is_known_to_sglang(version):
    if version is not None and version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    asked = [command for script in SCRIPTS for command in commands(script)]
    stale = ("stale", "server", ["--model-path", "m", "--no-such-flag"])
    said = refused(version, [*asked, stale])
    assert said.pop("stale server").endswith("unrecognized arguments: --no-such-flag")
    expected = {
        command: f"sglang.launch_server: error: unrecognized arguments: {flag}"
        for command, flag in REFUSED[version].items()
    }
    assert said == expected


def test_the_two_parts_of_the_command_line_are_told_apart():
    assert split(["--server", "--a", "1", "--bench", "--b"]) == (["--a", "1"], ["--b"])
