"""Our folder `kernels/` must never be what `import kernels` finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASK = "import kernels; print(getattr(kernels, '__file__', None))"


def python(code: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    setup = f"import sys; sys.path.append({str(path)!r});" if path else ""
    command = [sys.executable, "-c", setup + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_third_party_package_is_found_from_our_root(tmp_path):
    # GIVEN a third-party package `kernels` at the very end of the path
    package = tmp_path / "kernels"
    package.mkdir()
    (package / "__init__.py").write_text("def get_kernel(): ...\n")
    # WHEN it is imported with our repository as the working directory, first on the path
    done = python(ASK + "; from kernels import get_kernel", path=tmp_path)
    # THEN it is the third party's
    assert done.stdout.strip() == str(package / "__init__.py"), done.stderr


def test_without_it_nothing_can_be_imported_from_our_folder():
    done = python("from kernels import get_kernel")
    assert done.returncode == 1 and "ImportError" in done.stderr
    # a bare directory, as any folder on the path is, and no module of ours
    assert python(ASK).stdout.strip() in ("None", "") or "site-packages" in python(ASK).stdout


def test_the_folder_holds_no_package_marker():
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_ours_is_called_triage_kernels():
    done = python("import triage_kernels; print(triage_kernels.__name__)")
    assert done.stdout.strip() == "triage_kernels", done.stderr
