"""Every command on a machine that lacks packages: one sentence and exit code 3, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import dumps_fixture as dumps
from tests.cli.every_command import commands
from tests.doctor import machines
from tests.doctor.machines import machine
from triage.cli import main
from triage.dump.file import write_dump

HEAVY = ("torch", "triton", "sglang", "httpx", "openai", "matplotlib", "jinja2", "transformers",
         "fsspec", "pyarrow", "duckdb", "ray")  # fmt: skip

CAPTURE = Path(__file__).parents[1] / "fusions/captures/ple"
CALLS = {
    "show": (["show", "DUMP"], 0),
    "show --picture": (["show", "DUMP", "--picture", "OUT.png"], 3),
    "explain": (["explain", "DUMP"], 0),
    "report": (["report", "DUMP", "-o", "OUT.html"], 3),
    "report --png": (["report", "DUMP", "--png", "OUT.png"], 3),
    "report --json": (["report", "DUMP", "--json"], 0),
    "replay": (["replay", "DUMP"], 1),
    "replay --kernel eager": (["replay", "DUMP", "--kernel", "eager"], 3),
    "minimise": (["minimise", "DUMP", "--output", "OUT.msgpack"], 0),
    "export": (["export", "DUMP", "--as", "pytest", "--output", "OUT.py"], 0),
    "merge": (["merge", "NOWHERE"], 2),
    "batch": (["batch", "DUMP", "--out", "OUT.parquet"], 3),
    "batch report": (["batch", "report", "DUMP", "--json"], 3),
    "redact": (["redact", "DUMP", "--output", "OUT.msgpack"], 0),
    "import": (["import", "--output", "OUT.msgpack", "NOWHERE"], 2),
    "probe": (["probe"], 3),
    "lab list": (["lab", "list"], 0),
    "lab run": (["lab", "run", "smoke"], 3),
    "lab matrix": (["lab", "matrix"], 3),
    "lab bugs": (["lab", "bugs"], 3),
    "lab blind": (["lab", "blind", "NOWHERE"], 2),
    "lab serve": (["lab", "serve", "E4B", "--dry-run"], 3),
    "lab soak": (["lab", "soak", "--steps", "1"], 3),
    "lab machine": (["lab", "machine", "--examples", "1"], 3),
    "lab versions": (["lab", "versions"], 3),
    "kernels list": (["kernels", "list"], 3),
    "kernels bench": (["kernels", "bench"], 3),
    "kernels aot": (["kernels", "aot"], 3),
    "kernels tune": (["kernels", "tune"], 3),
    "kernels mutants": (["kernels", "mutants"], 3),
    "kernels sanitize": (["kernels", "sanitize"], 3),
    "kernels validate": (["kernels", "validate"], 3),
    "kernels resolve": (["kernels", "resolve", "DUMP"], 0),
    "fusions": (["fusions", "CAPTURE"], 0),
    "fusions --html": (["fusions", "CAPTURE", "--html", "OUT.html"], 3),
    "fusions port": (["fusions", "port", "norm-add-norm", "--into", "OUT.py"], 0),
    "doctor": (["doctor"], 3),
    "run": (["run", "--dir", "OUT", "--", "sh", "-c", "exit 0"], 0),
    "snap": (["snap", "1"], 2),
    "fixes": (["fixes"], 3),
    "verify": (["verify", "state-swap"], 3),
    "workload": (["workload", "summarisation", "--base-url", "http://127.0.0.1:9"], 3),
    "workload --help": (["workload", "--help"], 0),
    "quality": (["quality", "--base-url", "http://127.0.0.1:9"], 3),
    "pools": (["pools", "--help"], 0),
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> tuple[dict[str, str], Path]:
    folder = tmp_path_factory.mktemp("bare")
    dump = write_dump(dumps.make_dump(dumps.SMALL), folder, name="small.msgpack")
    return machine(tmp_path_factory.mktemp("machine"), absent=HEAVY), dump


def test_every_command_is_called_below():
    called = [arguments for arguments, _ in CALLS.values()]
    called.append(["fusions", "show"])  # what `fusions CAPTURE` is short for
    called.append(["batch", "run"])  # and `batch SOURCE`
    for path, _ in commands(main):
        alike = path[:1] if path[0] == "workload" else path  # one command for each workload
        assert any(tuple(each[: len(alike)]) == alike for each in called), " ".join(path)


@pytest.mark.parametrize("name", CALLS)
def test_without_heavy_packages_a_command_works_or_says_what_it_needs(bare, name, tmp_path):
    environment, dump = bare
    arguments, code = CALLS[name]
    places = {"DUMP": str(dump), "NOWHERE": str(tmp_path / "absent"), "CAPTURE": str(CAPTURE)}
    arguments = [
        str(tmp_path / each) if each.startswith("OUT") else places.get(each, each)
        for each in arguments
    ]

    ran = triage(environment, *arguments)

    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr[-2000:]
    if code == 3 and name not in ("replay --kernel eager", "probe", "doctor", "lab serve"):
        assert ran.stderr.splitlines()[-1].startswith("Error: ")
        assert "pip install" in ran.stderr


def test_a_kernel_without_its_packages_says_what_to_install(bare):
    environment, dump = bare
    said = triage(environment, "replay", str(dump)).stdout
    assert "eager      CANNOT_RUN (needs torch: pip install 'sglang-triage[lab]')" in said
    assert "needs torch, triton: pip install" in said


def test_a_probe_that_cannot_run_says_so_once_and_first(bare):
    environment, _ = bare
    ran = triage(environment, "probe")
    assert ran.stdout.startswith("could not be probed here: needs sm_100/103")
    assert (len(ran.stdout.splitlines()), ran.stderr) == (1, "")


def test_a_torch_that_is_broken_is_said_so_and_not_to_be_missing(tmp_path):
    ran = triage(machine(tmp_path, torch=machines.BROKEN_TORCH), "lab", "run", "smoke")

    assert ran.returncode == 3
    assert ran.stderr == (
        "Error: the lab needs torch, which cannot be imported here: libcudart.so.13: "
        "cannot open shared object file; `triage doctor` says more\n"
    )


def triage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triage", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
