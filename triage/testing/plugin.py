"""pytest plugin `sglang_triage` (entry point `pytest11`).

triage_lab         SGLang's real classes on the CPU, traps armed
no_kv_violations   fails the test if any trap fires while it runs, seen or swallowed
assert_kernel_matches   the function, for those who like it as a fixture
--triage-report DIR     the dumps of tests that fail, each with its explanation, and an index
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from triage.testing.lab import Lab
    from triage.testing.watch import Violation

_DIRECTORY = pytest.StashKey[Path]()
_HELD_TO = pytest.StashKey[int]()
"""Violations that a test under `no_kv_violations` was failed for already."""

_REPORTED = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("triage", "sglang-triage")
    group.addoption(
        "--triage-report",
        metavar="DIR",
        type=Path,
        help="keep the dumps of failing tests in DIR, each with its explanation, and an index.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORTED] = []
    config.addinivalue_line(
        "markers",
        "triage(checks=..., mode=...): what `no_kv_violations` arms, as the variables take it",
    )


@pytest.fixture
def _triage_directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the dumps of this test go."""
    directory = tmp_path / "triage"
    directory.mkdir(mode=0o700)
    request.node.stash[_DIRECTORY] = directory
    return directory


@pytest.fixture
def triage_lab(_triage_directory: Path) -> Iterator[Lab]:
    """SGLang's real classes on the CPU, the attention kernel emulated; see `triage.testing.lab`.

    Skips where SGLang or what it needs is not installed, with the reason.
    """
    from triage.errors import UnsupportedSGLang
    from triage.testing.lab import Lab

    try:
        lab = Lab(_triage_directory)
    except UnsupportedSGLang as error:
        pytest.skip(str(error))
    yield lab
    lab.disarm()


@pytest.fixture
def no_kv_violations(request: pytest.FixtureRequest, _triage_directory: Path) -> Iterator[Path]:
    """Fails the test if a trap fires while it runs; gives the directory of the dumps.

    Servers that the test starts inherit the variables; SGLang in this process is bound if it is
    loaded. `@pytest.mark.triage(checks="reads,lifecycle", mode="log")` says what is armed.
    """
    from triage.testing.watch import armed, violations_in

    mark = request.node.get_closest_marker("triage")
    options: dict[str, str] = dict(mark.kwargs) if mark else {}
    with armed(_triage_directory, **options):
        request.node.stash[_HELD_TO] = 0
        yield _triage_directory
    found = violations_in(_triage_directory)[request.node.stash[_HELD_TO] :]
    if found:  # what a server wrote while other fixtures ended it
        pytest.fail(_verdict(found), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that ends well is held to what was found by then, as part of the test itself."""
    try:
        result = yield
    finally:  # a test that fails by itself shows them beside its failure
        found = _found_by_now(item)
    if found:
        pytest.fail(_verdict(found), pytrace=False)
    return result


def _found_by_now(item: pytest.Item) -> list[Violation]:
    if item.stash.get(_HELD_TO, None) is None:
        return []
    from triage.testing.watch import violations_in

    found = violations_in(item.stash[_DIRECTORY])
    item.stash[_HELD_TO] = len(found)
    return found


def _verdict(found: list[Violation]) -> str:
    sentences = "\n".join(map(str, found))
    count = "a violation" if len(found) == 1 else f"{len(found)} violations"
    return f"the traps found {count}:\n{sentences}"


@pytest.fixture(name="assert_kernel_matches")
def _assert_kernel_matches() -> Callable[..., int]:
    """`triage.testing.assert_kernel_matches`."""
    from triage.testing.kernels import assert_kernel_matches

    return assert_kernel_matches


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    directory = item.stash.get(_DIRECTORY, None)
    if directory is None or not report.failed or not directory.is_dir():
        return report
    try:
        _tell(item, report, directory)
    except Exception as error:  # the test's own failure is what matters
        report.sections.append(("sglang-triage", f"no report: {type(error).__name__}: {error}"))
    return report


def _tell(item: pytest.Item, report: Any, directory: Path) -> None:
    """The violations beside the failure, and with `--triage-report` the dumps in its directory."""
    from triage.testing.watch import violations_in

    found = violations_in(directory)
    if not found:
        return
    report.sections.append(("sglang-triage", "\n".join(map(str, found))))
    target: Path | None = item.config.getoption("--triage-report")
    if target is None:
        return
    kept = target / re.sub(r"[^\w.\[\]-]+", "_", item.nodeid)[-150:]
    kept.mkdir(parents=True, exist_ok=True)
    for each in found:
        shutil.copyfile(each.path, kept / each.path.name)
        (kept / f"{each.path.stem}.txt").write_text(_explained(kept / each.path.name, each))
    record = {
        "test": item.nodeid,
        "when": report.when,
        "violations": [
            {
                "dump": str((kept / each.path.name).relative_to(target)),
                "invariant": each.invariant,
                "headline": each.headline,
                "cause": each.cause,
            }
            for each in found
        ],
    }
    records = item.config.stash[_REPORTED]
    records[:] = [each for each in records if each["test"] != item.nodeid] + [record]
    # Written at once: a session that is killed has told what it found so far.
    known = [each for each in _index(target) if each["test"] != item.nodeid]
    (target / "index.json").write_text(json.dumps([*known, record], indent=2) + "\n")


def _index(target: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((target / "index.json").read_text())
    except (OSError, ValueError):
        return []
    return [each for each in found if isinstance(each, dict) and "test" in each]


def _explained(path: Path, found: Violation) -> str:
    return f"{found.headline}\ncause: {found.cause}\nnext: triage explain {path}\n"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    records = config.stash.get(_REPORTED, [])
    if not records:
        return
    target = config.getoption("--triage-report")
    terminalreporter.write_sep("-", "sglang-triage")
    for record in records:
        first = record["violations"][0]
        terminalreporter.write_line(f"{record['test']}: {first['headline']}")
        terminalreporter.write_line(f"  cause: {first['cause']}; dump: {target / first['dump']}")
