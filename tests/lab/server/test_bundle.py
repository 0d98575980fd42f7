"""The bundle for a GPU machine: what is fetched, what is left out, and its files' times."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from triage.errors import LabError
from triage.lab.server import bundle


def wheel(folder: Path, name: str, files: tuple[str, ...]) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for each in files:
            archive.writestr(each, each)
    return path


def test_only_what_is_missing_is_fetched(tmp_path):
    wanted = bundle.pins()
    names = [each.split("==") for each in wanted.requirements[:-1]]
    for name, version in names:
        (tmp_path / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").touch()
    asked = []
    fetched = bundle.download(wanted, tmp_path, lambda command, **_: asked.append(command))
    assert fetched == [wanted.requirements[-1]]
    (command,) = asked
    assert command[-1] == fetched[0] and "--no-deps" in command
    assert command[command.index("--python-version") + 1] == "3.12"


def test_pips_refusal_is_told_in_its_words(tmp_path):
    def refuse(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command, stderr="ERROR: No matching distribution")

    with pytest.raises(LabError, match="No matching distribution"):
        bundle.download(bundle.pins(), tmp_path, refuse)


def test_an_unknown_release_is_answered_with_the_known_ones():
    with pytest.raises(LabError, match=r"0\.5\.14"):
        bundle.pins("0.4.0")
    assert bundle.pins().release == "0.5.14" and bundle.pins().tried


def test_of_the_kernel_wheel_only_one_architecture_is_kept(tmp_path):
    kernel = wheel(
        tmp_path,
        "sglang_kernel-0.4.4-cp310-abi3-manylinux2014_x86_64.whl",
        ("sgl_kernel/a.py", "sgl_kernel/sm90/ops.so", "sgl_kernel/sm100/ops.so",
         "sgl_kernel/flash_ops.so", "sglang_kernel-0.4.4.dist-info/METADATA"),
    )  # fmt: skip
    server = wheel(
        tmp_path,
        "sglang-0.5.14-py3-none-any.whl",
        ("sglang/srt/a.py", "sglang/test/b.py", "sglang/multimodal_gen/c.py"),
    )
    site = tmp_path / "site"
    assert bundle.unpack([kernel, server], site) == 4
    found = sorted(str(p.relative_to(site)) for p in site.rglob("*") if p.is_file())
    assert found == [
        "sgl_kernel/a.py", "sgl_kernel/sm90/ops.so", "sglang/srt/a.py",
        "sglang_kernel-0.4.4.dist-info/METADATA",
    ]  # fmt: skip


def test_a_stand_in_gives_way_to_the_real_module(tmp_path):
    (tmp_path / "xgrammar").mkdir()
    assert bundle.add_stand_ins(tmp_path) == ["IPython", "cutlass", "soundfile"]
    assert not list((tmp_path / "xgrammar").iterdir())
    assert (tmp_path / "IPython" / "display.py").exists()


CUTE = """
import cutlass
import cutlass.cute as cute
from cutlass import BFloat16, cute as same
from cutlass._mlir.dialects import llvm, vector
from cutlass.cutlass_dsl import T, dsl_user_op

class Kernel(cute.Base):
    width: cutlass.Constexpr[int] | None = None

    @cute.jit
    def launch(self, tensor: cute.Tensor, *, loc=None):
        return tensor

    @dsl_user_op(unroll=2)
    @cute.kernel
    def body(self) -> BFloat16 | None:
        return 7

print(Kernel().launch(5), Kernel().body(), cutlass.__name__)
"""


def test_kernels_of_other_models_can_be_imported_beside_the_stand_in_for_cutlass(tmp_path):
    bundle.add_stand_ins(tmp_path)
    done = subprocess.run(
        [sys.executable, "-S", "-c", CUTE],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "5 7 cutlass\n", done.stderr


def test_every_file_is_older_than_anything_compiled_from_it(tmp_path):
    folder = tmp_path / "folder"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "a.py").write_text("a")
    out = tmp_path / "b.tar.xz"
    assert bundle.pack(folder, out) == out.stat().st_size
    with tarfile.open(out) as tar:
        assert tar.getnames() == ["site", "site/a.py"]
        assert {member.mtime for member in tar} == {bundle.OLD}
