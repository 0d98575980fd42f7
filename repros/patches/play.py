"""Plays the regression test of a patch on the release that it is for, on this machine's CPU.

python repros/patches/play.py NAME [--applied]      NAME as `locked-prefix-freed-0.5.14`

Without --applied on the release's own classes, with it on those of a copy in which the patch
is applied to the files that it touches; the installed files are not written to. The release is
looked for where `triage lab --sglang` does. Exits with 0 if the test passes, 1 if it fails,
3 where the release is not here. What cannot be imported on a CPU is stood in for: STAND_INS.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
import unittest
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PATCHES = Path(__file__).resolve().parent
EXIT_CANNOT_RUN = 3
STRIPPED = "-p2"
"""Paths are those of SGLang's repository, `a/python/sglang/...`; a wheel begins at `sglang`."""


def release_of(patch: Path) -> str:
    return patch.stem.rpartition("-")[2]


def regression_test(patch: Path) -> Path:
    name = patch.stem.rpartition("-")[0].replace("-", "_")
    return PATCHES / f"test_{name}.py"


def touched(patch: Path) -> list[str]:
    return re.findall(r"^\+\+\+ b/python/(\S+)", patch.read_text(), re.MULTILINE)


def git_apply(patch: Path, folder: Path, *options: str) -> str:
    """What git says against it, empty where the patch applies to the sources in `folder`."""
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    done = subprocess.run(
        ["git", "apply", STRIPPED, *options, str(patch)],
        cwd=folder,
        env=alone,
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


def patched_copy(patch: Path, sources: Path, folder: Path) -> Path:
    """Copy the files that the patch touches to `folder` and patch them. Raises SystemExit."""
    for name in touched(patch):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources / name, copy)
    if said := git_apply(patch, folder):
        raise SystemExit(said)
    return folder


# -- in a process of the release ------------------------------------------------------------


class Patched(importlib.abc.MetaPathFinder):
    """Finds the modules that lie in `folder` there, and leaves the others to Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        file = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        return importlib.util.spec_from_file_location(name, file) if file.is_file() else None


STAND_INS: dict[str, dict[str, Any]] = {
    "sglang.test.test_utils": {"CustomTestCase": unittest.TestCase},
    "sglang.srt.model_executor.model_runner": {"ModelRunner": object},  # named in types
    "sglang.srt.managers.scheduler": {"GenerationBatchResult": object},  # needs a web server
}
"""Modules that need what a server or SGLang's tests install, and what is taken from them."""


def stand_in() -> None:
    for name, held in STAND_INS.items():
        try:
            importlib.import_module(name)
        except ImportError:
            module = types.ModuleType(name)
            vars(module).update(held)
            sys.modules[name] = module


def run_test(test: Path, folder: Path | None) -> int:
    """Run the test of this file on the SGLang of this process, which is not imported yet if
    `folder` holds patched files of it."""
    if folder is not None:
        sys.meta_path.insert(0, Patched(folder))
    from triage.lab import bootstrap

    bootstrap.prepare()
    stand_in()
    spec = importlib.util.spec_from_file_location(test.stem, test)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = unittest.TextTestRunner(sys.stdout).run(
        unittest.defaultTestLoader.loadTestsFromModule(module)
    )
    assert found.testsRun, "the file holds no test"
    return 0 if found.wasSuccessful() and not found.skipped else 1


# -- the command ----------------------------------------------------------------------------


def play(name: str, applied: bool) -> int:
    from triage.errors import LabError
    from triage.lab import versions

    patch = PATCHES / f"{name}.patch"
    if not patch.is_file():
        known = ", ".join(sorted(each.stem for each in PATCHES.glob("*.patch")))
        raise SystemExit(f"no patch {name!r}; known: {known}")
    release = release_of(patch)
    try:
        environment = versions.environment(release)
    except LabError as error:
        print(error, file=sys.stderr)
        return EXIT_CANNOT_RUN
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--test", str(regression_test(patch))]
        if applied:
            sources = versions.available()[release]
            command.append(str(patched_copy(patch, sources, Path(folder))))
        return subprocess.run(command, env=environment).returncode


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--test", test]:
            return run_test(Path(test), None)
        case ["--test", test, folder]:
            return run_test(Path(test), Path(folder))
        case [name]:
            return play(name, applied=False)
        case [name, "--applied"]:
            return play(name, applied=True)
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
