"""A kernel's process may hang, die or talk nonsense; the tool answers with a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests import dumps_fixture as dumps
from triage.dump.file import write_dump
from triage.errors import ReplayError
from triage.replay.engine import replay_file
from triage.replay.kernels import KERNELS, Kernel
from triage.replay.verdict import Basis, Outcome


@pytest.fixture
def small(tmp_path):
    dump = dumps.make_dump(dumps.SMALL)
    return write_dump(dump, tmp_path), dump


def with_child(monkeypatch, tmp_path, body):
    """A kernel `odd` whose module runs `body` in the child."""
    (tmp_path / "odd_kernel.py").write_text(
        f"import os, sys, time, json\ndef run(dump, fix):\n{body}"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "from triage.replay import kernels\nfrom triage.replay.verdict import Basis\n"
        "kernels.KERNELS['odd'] = kernels.Kernel('odd_kernel:run', Basis.EXECUTED)\n"
    )
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{path}")
    monkeypatch.setitem(KERNELS, "odd", Kernel("odd_kernel:run", Basis.EXECUTED))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    os.kill(os.getpid(), 11)", "killed by signal 11"),
        ("    print('ok', flush=True); os._exit(0)", "ended with status 0 without a verdict: ok"),
        ("    raise RuntimeError('boom')", "RuntimeError: boom"),
        ("    open(sys.argv[3], 'w').write('{]'); os._exit(0)", "without a verdict"),
        ("    open(sys.argv[3], 'w').write('{\"kernel\": 1}'); os._exit(0)", "no verdict"),
        ("    open(sys.argv[3], 'w').write('[' * 9**7); os._exit(0)", "without a verdict"),
        ("    import absent_package", "needs a package that is not here"),
    ],
    ids=["killed", "silent", "raises", "garbage", "no verdict", "huge", "package"],
)
def test_a_child_that_dies_or_talks_nonsense_cannot_run(small, monkeypatch, tmp_path, body, reason):
    with_child(monkeypatch, tmp_path, body)

    verdicts = {each.kernel: each for each in replay_file(*small, ["odd"])}

    assert verdicts["odd"].outcome is Outcome.CANNOT_RUN
    assert reason in verdicts["odd"].reasons[0]


def test_a_child_that_hangs_is_ended_with_everything_it_started(small, monkeypatch, tmp_path):
    marker = tmp_path / "grandchild"
    with_child(
        monkeypatch,
        tmp_path,
        "    import subprocess\n"
        "    other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"    open({str(marker)!r}, 'w').write(str(other.pid))\n"
        "    time.sleep(60)",
    )

    verdicts = {each.kernel: each for each in replay_file(*small, ["odd"], timeout_s=5)}

    assert "did not finish within 5 s" in verdicts["odd"].reasons[0]
    assert gone(int(marker.read_text()))


def test_a_child_does_not_outlive_the_tool_even_if_that_is_killed(small, monkeypatch, tmp_path):
    marker = tmp_path / "child"
    body = f"    open({str(marker)!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)"
    with_child(monkeypatch, tmp_path, body)
    run = (
        "import sys; from pathlib import Path; from triage.dump.file import read_dump; "
        "from triage.replay.engine import replay_file; path = Path(sys.argv[1]); "
        "replay_file(path, read_dump(path), ['odd'])"
    )

    tool = subprocess.Popen([sys.executable, "-c", run, str(small[0])])
    while not (marker.exists() and marker.read_text()):
        assert tool.poll() is None
        time.sleep(0.05)
    tool.kill()
    tool.wait()

    assert gone(int(marker.read_text()))


def test_a_child_that_writes_without_end_does_not_fill_the_disk(small, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with_child(monkeypatch, tmp_path, "    while True: print('x' * (1 << 20))")

    verdicts = {each.kernel: each for each in replay_file(*small, ["odd"], timeout_s=60)}

    assert "after 256 MiB of output without a verdict: xxx" in verdicts["odd"].reasons[0]
    assert not list(tmp_path.glob("triage-replay-*"))


def gone(pid: int) -> bool:
    """Has the process ended (or become a zombie that waits for its new parent)?"""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_eager_runs_in_its_own_process_and_trtllm_gen_always_has_a_line(small):
    verdicts = {each.kernel: each for each in replay_file(*small, ["eager"])}

    assert verdicts["eager"].outcome is Outcome.REPRODUCED
    assert verdicts["eager"].basis is Basis.EXECUTED
    assert "trtllm-gen" in verdicts


@pytest.mark.parametrize(("kernels", "fix"), [(["warp"], ""), (["emulator"], "magic")])
def test_what_is_not_known_is_answered_with_what_is(small, kernels, fix):
    with pytest.raises(ReplayError, match=r"unknown (kernel|fix) '\w+'; known: "):
        replay_file(*small, kernels, fix=fix)
