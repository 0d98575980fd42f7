"""The sources of a release of SGLang that is not installed: a wheel, or a folder.

Only read: nothing of it is run or unpacked. A folder is one that holds the package `sglang`,
or a checkout of SGLang, where that is under `python/`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.errors import LabError
from triage.files.reading import read_regular

PACKAGE = "sglang"
MAX_SOURCE_BYTES = 4 << 20
"""Of one module; the largest of SGLang 0.5.23 has 0.4 MB."""

MAX_WHEEL_BYTES = 1 << 30
_INIT = "__init__.py"


@dataclass(frozen=True, slots=True)
class Module:
    """One module: `name` dotted, `file` inside the tree, "" for a folder without `__init__.py`."""

    name: str
    file: str
    is_package: bool


class SourceTree:
    """Modules of the package `sglang` below one place.

    Raises LabError where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wheel: zipfile.ZipFile | None = None
        self._root = path
        if path.is_dir():
            candidates = [path, path / "python", path.parent if path.name == PACKAGE else path]
            found = next((each for each in candidates if (each / PACKAGE / _INIT).is_file()), None)
            if found is None:
                raise LabError(f"{path} holds no package {PACKAGE}, nor python/{PACKAGE}")
            self._root = found
        else:
            self._wheel = _opened(path)
        self._names = frozenset(self._wheel.namelist()) if self._wheel else frozenset()

    @property
    def version(self) -> str:
        """As its own metadata or version file says; "unknown" where neither does."""
        pattern = re.compile(rf"{PACKAGE}-([^/]+)\.dist-info(/METADATA)?")
        names = self._names if self._wheel else {each.name for each in self._root.iterdir()}
        for found in filter(None, map(pattern.fullmatch, sorted(names))):
            return found[1]
        for name in ("_version.py", "version.py"):
            text = self._text(f"{PACKAGE}/{name}")
            if literal := re.search(r"^_*version_*\s*=.*?[\"']([^\"']+)[\"']\s*$", text, re.M):
                return literal[1]
        return "unknown"

    def find(self, module: str) -> Module | None:
        """The module of that dotted name, None if there is none."""
        path = module.replace(".", "/")
        for file, is_package in ((f"{path}/{_INIT}", True), (f"{path}.py", False)):
            if self._has(file):
                return Module(module, file, is_package)
        return Module(module, "", True) if self._has_folder(path) else None

    def source(self, module: Module) -> str:
        return self._text(module.file) if module.file else ""

    def texts(self, below: Sequence[str]) -> Iterator[tuple[str, str]]:
        """(file, text) of each Python file in those folders, "sglang/srt/mem_cache/" and so on."""
        for file in sorted(self._files(below)):
            yield file, self._text(file)

    def _files(self, below: Sequence[str]) -> set[str]:
        if self._wheel:
            return {n for n in self._names if n.endswith(".py") and n.startswith(tuple(below))}
        return {
            found.relative_to(self._root).as_posix()
            for folder in below
            for found in (self._root / folder).glob("**/*.py")
        }

    def _has(self, file: str) -> bool:
        return file in self._names if self._wheel else (self._root / file).is_file()

    def _has_folder(self, path: str) -> bool:
        if self._wheel:
            return any(name.startswith(f"{path}/") for name in self._names)
        return (self._root / path).is_dir()

    def _text(self, file: str) -> str:
        if not self._has(file):
            return ""
        if self._wheel is None:
            return read_regular(self._root / file, MAX_SOURCE_BYTES, LabError).decode(
                "utf-8", "replace"
            )
        facts = self._wheel.getinfo(file)
        with self._wheel.open(facts) as opened:
            content = opened.read(MAX_SOURCE_BYTES + 1)  # what the archive says of it is not asked
        if len(content) > MAX_SOURCE_BYTES:
            raise LabError(f"{file} in {self.path} has more than {MAX_SOURCE_BYTES} bytes")
        return content.decode("utf-8", "replace")


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        if path.is_file() and path.stat().st_size <= MAX_WHEEL_BYTES:
            wheel = zipfile.ZipFile(path)
            if f"{PACKAGE}/{_INIT}" in wheel.namelist():
                return wheel
            raise LabError(f"{path} holds no package {PACKAGE}")
    except (OSError, zipfile.BadZipFile) as error:
        raise LabError(f"{path} is not a wheel: {error}") from error
    raise LabError(f"{path} is neither a wheel nor a folder with the package {PACKAGE} in it")
