"""`triage run -- CMD...`: as if nobody stood before the command, and then the dumps and causes."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triage import config

TRIAGE = [sys.executable, "-m", "triage", "run"]
GOLDEN = Path(__file__).parents[2] / "dumps" / "e4b_stale_swa_state.msgpack"

COUNTS = """
import signal, sys, time
counted = []
signal.signal(signal.{name}, lambda number, frame: counted.append(number))
print("ready", flush=True)
end = time.monotonic() + 20
while not counted and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)  # a second one would have come by now
print(len(counted), flush=True)
sys.exit(5)
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("SGLANG_TRTLLM_MHA", "SGLANG_TRIAGE")):
            monkeypatch.delenv(name)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRIAGE, *arguments], capture_output=True, text=True, timeout=120, **options
    )


def started(*arguments: str, **options) -> subprocess.Popen[str]:
    """A run whose command has said that it is ready."""
    child = subprocess.Popen([*TRIAGE, *arguments], stdout=subprocess.PIPE, text=True, **options)
    assert child.stdout.readline() == "ready\n"
    return child


# -- as if nobody stood before it ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -9 $$"], 128 + 9),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["no-such-command"], 127),
        ([str(GOLDEN)], 126),
    ],
    ids=["clean", "its own code", "killed", "ended", "not found", "not executable"],
)
def test_the_exit_code_is_that_of_the_command_as_a_shell_says_it(tmp_path, command, code):
    assert run("--dir", str(tmp_path), "--", *command).returncode == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"])
def test_a_signal_reaches_the_command_once_and_its_code_comes_back(tmp_path, name):
    child = started("--dir", str(tmp_path), sys.executable, "-c", COUNTS.format(name=name))
    child.send_signal(getattr(signal, name))

    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (5, "1\n")


def test_a_signal_that_ends_the_command_ends_it_there(tmp_path):
    code = "import time; print('ready', flush=True); time.sleep(60)"
    child = started("--dir", str(tmp_path), "--", sys.executable, "-c", code)
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM


def test_where_a_signal_was_ignored_it_is_still_ignored_and_still_passed_on(tmp_path):
    # GIVEN a shell that starts its background jobs with SIGINT ignored
    def ignoring() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    # WHEN a command that asks for nothing is interrupted, THEN it goes on to its end
    told = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    code = f"import time; print('ready', flush=True); time.sleep(0.5); {told}"
    child = started("--dir", str(tmp_path), sys.executable, "-c", code, preexec_fn=ignoring)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "True\n"
    assert child.returncode == 0
    # AND one that listens for it hears it
    listens = COUNTS.format(name="SIGINT")
    child = started("--dir", str(tmp_path), sys.executable, "-c", listens, preexec_fn=ignoring)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "1\n"
    assert child.returncode == 5


def test_a_terminals_interrupt_comes_to_the_command_once(tmp_path):
    # GIVEN a run in the foreground of a terminal, where Ctrl-C goes to the whole group
    pid, terminal = pty.fork()
    if pid == 0:
        code = COUNTS.format(name="SIGINT")
        os.execv(sys.executable, [*TRIAGE, "--dir", str(tmp_path), sys.executable, "-c", code])
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 4096)
    # WHEN it is pressed
    os.write(terminal, b"\x03")
    # THEN the command heard it once
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:  # a terminal whose other side is closed
        pass
    _, status = os.waitpid(pid, 0)
    assert b"\n1\r\n" in said.replace(b"^C", b"")
    assert os.waitstatus_to_exitcode(status) == 5


def test_what_the_command_left_running_is_left(tmp_path):
    ran = run("--dir", str(tmp_path), "sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!")
    left = int(ran.stdout)
    os.kill(left, 0)  # raises if it is gone
    os.kill(left, signal.SIGKILL)


# -- the traps, and what came of them ---------------------------------------------------------


def test_the_command_finds_the_traps_armed_and_what_was_set_before_holds(tmp_path):
    show = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if 'MHA' in k}))"
    environment = {**os.environ, config.MODE: "log", config.CHECKS: "I1"}
    ran = run("--dir", str(tmp_path), "--checks", "reads", sys.executable, "-c", show,
              env=environment)  # fmt: skip
    assert json.loads(ran.stdout) == {
        config.DEBUG: "1",
        config.MODE: "log",
        config.CHECKS: "reads",
        config.DIRECTORY: str(tmp_path),
    }


def test_what_the_traps_would_refuse_is_refused_before_the_command_is_started(tmp_path):
    ran = run("--checks", "I99", "sh", "-c", f"touch {tmp_path}/ran")
    assert ran.returncode == 2
    assert "I99" in ran.stderr
    assert not (tmp_path / "ran").exists()


def test_the_dumps_of_this_run_are_told_with_their_causes_and_no_others(tmp_path):
    # GIVEN a directory that has a dump, and a command that leaves one and a torn one
    shutil.copy(GOLDEN, tmp_path / "earlier.msgpack")
    script = f"cp {GOLDEN} {tmp_path}/new.msgpack; sleep 0.05; echo x > {tmp_path}/torn.msgpack"
    # WHEN it ran
    ran = run("--dir", str(tmp_path), "--json", "--", "sh", "-c", f"echo its own; {script}; exit 4")
    # THEN the last line of standard output is the record, behind the command's own words
    first, last = ran.stdout.splitlines()
    told = json.loads(last)
    assert (first, ran.returncode, told["exit_code"]) == ("its own", 4, 4)
    assert [Path(each["path"]).name for each in told["dumps"]] == ["new.msgpack", "torn.msgpack"]
    assert told["dumps"][0]["causes"] == ["stale-swa-state (high)"]
    assert told["dumps"][1]["problem"]
    # AND standard error says it in words, the next command last
    assert "2 dumps in" in ran.stderr
    assert "cause: stale-swa-state (high)" in ran.stderr
    assert ran.stderr.splitlines()[-1] == f"next: triage explain {tmp_path}/new.msgpack"


def test_a_run_without_a_dump_says_whether_anything_was_armed(tmp_path):
    nothing = run("--dir", str(tmp_path), "true")
    assert "no scheduler of SGLang said that it is armed" in nothing.stderr

    marker = tmp_path / "armed.4711"
    ran = run("--dir", str(tmp_path), "--json", "sh", "-c", f"> {marker}; sleep 2; rm {marker}")
    assert json.loads(ran.stdout)["armed"] == [4711]
    assert "nothing was dumped; armed schedulers: 4711" in ran.stderr


def test_without_a_directory_it_makes_one_of_its_own_and_takes_it_away_if_it_stays_empty(
    monkeypatch, tmp_path
):
    code = (
        "from triage import config; from pathlib import Path;"
        f"config.DEFAULT_DIRECTORY = Path({str(tmp_path / 'place')!r});"
        "from triage.cli import main; main()"
    )
    show = f"import os; print(os.environ[{config.DIRECTORY!r}])"
    for leave, kept in (("", False), ("; open(d + '/a.msgpack', 'w')", True)):
        inner = f"{show}; d = os.environ[{config.DIRECTORY!r}]; assert os.path.isdir(d){leave}"
        ran = subprocess.run(
            [sys.executable, "-c", code, "run", "--", sys.executable, "-c", inner],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        assert Path(ran.stdout.strip()).parent == tmp_path / "place"
        assert Path(ran.stdout.strip()).exists() is kept


@pytest.mark.slow
def test_a_defect_of_sglangs_own_classes_under_it_is_dumped_and_explained(tmp_path):
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    # GIVEN the lab with page tables that belong to other requests, as a command
    lab = [sys.executable, "-m", "triage", "lab", "bugs", "another-requests-row"]
    began = time.monotonic()
    # WHEN it runs under the traps
    ran = run("--dir", str(tmp_path), "--json", "--", *lab, "--dir", str(tmp_path))
    told = json.loads(ran.stdout.splitlines()[-1])
    # THEN what SGLang's launch met was dumped, and its cause is told
    assert ran.returncode == 0, ran.stderr
    assert told["seconds"] <= time.monotonic() - began
    assert told["dumps"] and all(not each["problem"] for each in told["dumps"])
    assert any(each["status"] == "named" for each in told["dumps"])
