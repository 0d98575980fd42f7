"""Machines for the doctor: packages that are real, broken, absent or deadly, as folders.

Each is a folder put first on PYTHONPATH. The torches and SGLangs here are only as large as
the stages that ask for them; the one test of the whole uses the installed ones.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

TORCH = """
__version__ = "2.13.0+made"
class version: cuda = None
class cuda:
    @staticmethod
    def is_available(): return False
"""
BROKEN_TORCH = """
raise ImportError("libcudart.so.13: cannot open shared object file")
"""
ABORTS = """
import os, sys
sys.stderr.write("terminate called after throwing an instance of 'c10::Error'\\n"
                 "  what():  Only a single TORCH_LIBRARY can be used to register the namespace\\n"
                 "frame #0: made up\\n")
sys.stderr.flush()
os.abort()
"""
HANGS = """
import time
time.sleep(600)
"""
RAISES = """
raise RuntimeError("operator torchvision::nms was compiled for another torch")
"""
REAL_TORCHVISION = """
import os, sys
import torch

def registered_by_another(error):
    # what the C++ registration does in a static initialiser: nobody can catch it there
    sys.stderr.write(f"  what():  {error}\\n")
    sys.stderr.flush()
    os.abort()

try:
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError as error:
    registered_by_another(error)

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets.new_empty(0)
"""
BROKEN_SGLANG = """
raise ImportError("cannot import name 'Sampler' from 'sgl_kernel'")
"""


def machine(folder: Path, absent: Sequence[str] = (), **packages: str) -> dict[str, str]:
    """The environment of a machine with these packages in front, and without `absent`."""
    for name, source in packages.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(textwrap.dedent(source))
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(absent)!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    ours = ("SGLANG_TRTLLM_MHA", "SGLANG_TRIAGE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": path}
