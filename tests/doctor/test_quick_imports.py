"""The doctor imports with fewer system calls, and nothing it would have found is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.doctor import machines
from tests.doctor.machines import machine


def run(code: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_source_that_was_there_is_asked_for_once_and_what_was_not_each_time(tmp_path):
    (tmp_path / "there.py").write_text("value = 1")
    out = run(
        f"""
        import os, posix, sys
        sys.path.insert(0, {str(tmp_path)!r})
        asked, real = [], posix.stat
        posix.stat = lambda path, *a, **k: asked.append(str(path)) or real(path, *a, **k)
        from triage.doctor.quick_imports import ask_once
        ask_once()
        there, absent = {str(tmp_path / "there.py")!r}, {str(tmp_path / "absent.py")!r}
        del asked[:]
        print([os.path.exists(there), os.path.exists(there), os.path.exists(absent)])
        open(absent, "w").close()
        print(os.path.exists(absent), asked.count(there), asked.count(absent))
        import there
        print(there.value, os.stat(os.devnull).st_mode == real(os.devnull).st_mode)
        """
    )
    assert out.splitlines() == ["[True, True, False]", "True 1 2", "1 True"]


def test_a_module_of_any_length_is_read_whole(tmp_path):
    (tmp_path / "long.py").write_text("\n".join(f"name_{i} = {i}" for i in range(20_000)))
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from triage.doctor.quick_imports import ask_once
        ask_once()
        import long
        print(long.name_19999)
        """
    assert [run(code), run(code)] == ["19999\n", "19999\n"]  # compiled, then from bytecode


TORCH_THAT_COMPILES = (
    machines.TORCH
    + """
def compile(model=None, **options):
    import torch._inductor.compile_fx
    raise AssertionError("a compiler was asked")
"""
)
USES_IT = """
import torch
@torch.compile
def first(): return 1
@torch.compile(dynamic=True)
def second(): return 2
assert first() + second() == 3
raise ImportError("got as far as this")
"""


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("", "got as far as this"), ("raise ImportError('no ptxas')", "no ptxas")],
    ids=["whole", "broken"],
)
def test_a_compiler_that_cannot_be_imported_is_found_though_nothing_is_compiled(
    tmp_path, compiler, said
):
    # GIVEN an SGLang that decorates with torch.compile, and a compiler that is whole or broken
    made = machine(tmp_path, torch=TORCH_THAT_COMPILES, sglang=USES_IT, torchvision="")
    (tmp_path / "torch" / "_inductor").mkdir()
    (tmp_path / "torch" / "_inductor" / "__init__.py").touch()
    (tmp_path / "torch" / "_inductor" / "compile_fx.py").write_text(compiler)
    # WHEN the doctor asks
    from triage.doctor.ask import ask

    stages = ask(made, timeout_s=60)
    # THEN the reason is the first thing that is wrong with it
    assert said in stages["sglang"]["reason"]


def test_calls_nested_deeper_than_a_chunk_of_frames_work_as_before():
    out = run(
        """
        from triage.doctor.quick_imports import in_one_chunk
        def down(n):
            return 0 if n == 0 else 1 + down(n - 1)
        def main(skip, tell, source=""):
            tell((down(900), skip, source))
        in_one_chunk(main)(3, print, source="x")
        """,
        dict(os.environ),
    )
    assert out == "(900, 3, 'x')\n"
