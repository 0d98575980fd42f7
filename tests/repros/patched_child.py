"""Runs one regression test of `repros/patches/` on the SGLang of this process.

python -m tests.repros.patched_child TEST [FOLDER]

FOLDER holds patched files of the release, `sglang/...`: its modules are found there first, so
SGLang must not be imported yet. Exits with 0 if the test passes, 1 if it fails.
What cannot be imported here is stood in for, as STAND_INS lists it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
import types
import unittest
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


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


def main(test: Path, folder: Path | None) -> int:
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


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
