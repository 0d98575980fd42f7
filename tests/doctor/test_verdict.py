"""The doctor's last line is its verdict, and flags are SGLang's parser's to refuse."""

from __future__ import annotations

import argparse
import sys
import types

import pytest

from triage import config
from triage.doctor import child
from triage.doctor.examine import Examined
from triage.doctor.text import text, verdict
from triage.sglang.launch.coverage import served


def examined(refused: str = "", present: bool = True, active: bool = True, **sglang) -> Examined:
    installed = {"sglang": {"present": present, "version": "0.5.18"}}
    stages = {
        "packages": {
            "state": "found", "python": "3.11.2", "installed": installed, "entry_point": True,
        },
        "gpu": {"state": "absent"},
        "torch": {"state": "found"},
        "torchvision": {"state": "found"},
        "flashinfer": {"state": "found"},
        "sglang": {"state": "found", "version": "0.5.18", **sglang},
        "bind": {"state": "found", "active": active, "hooks": [], "not_applicable": {}},
        "requested": {"state": "found"},
    }  # fmt: skip
    return Examined(refused, [], config.Config(), stages, served((), "sm_100"), ())


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (examined(), 0, "every trap binds on SGLang 0.5.18"),
        (examined(no_scheduler="no sgl_kernel"), 0, "no server starts on this machine"),
        (examined(active=False), 1, "the traps do NOT stand here"),
        (examined(refused="DEBUG_MODE='rise'"), 2, "no server starts with this environment"),
        (examined(refused_flags="unrecognized arguments"), 2, "no server starts with these flags"),
        (examined(present=False), 3, "no SGLang to ask"),
    ],
    ids=["binds", "no scheduler", "does not", "environment", "flags", "nothing"],
)
def test_it_says_what_the_exit_code_says(found, code, said):
    assert found.exit_code == code
    assert verdict(found).startswith("verdict: ") and said in verdict(found)


def test_a_silent_self_test_is_in_it():
    assert "self-test" in verdict(examined(), self_test=1)


def test_without_sglang_no_list_is_left_open_and_nobody_is_said_to_have_found_us():
    said = text(examined(present=False))
    assert "packages: Python 3.11.2; not installed: sglang" in said
    assert "there is no SGLang here to load it" in said


def test_flags_that_sglang_refuses_are_refused_in_its_words(monkeypatch):
    # GIVEN an SGLang whose parser knows one flag
    class ServerArgs:
        @staticmethod
        def add_cli_args(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--model-path", required=True)
            parser.add_argument("--page-size", type=int)

    made = types.ModuleType("sglang.srt.server_args")
    made.ServerArgs = ServerArgs
    monkeypatch.setitem(sys.modules, "sglang.srt.server_args", made)
    # WHEN flags are asked about THEN what it does not take is told in its words
    asked = {"asked": {"flags": ["--page-size", "64"]}}
    assert child._flags(asked) == {}
    asked = {"asked": {"flags": ["NONSENSE", "FLAGS"]}}
    assert child._flags(asked) == {"refused_flags": "unrecognized arguments: NONSENSE FLAGS"}
    # AND a parser that fails in itself refuses nothing
    made.ServerArgs = None
    assert child._flags(asked) == {}
