"""Releases of SGLang for the doctor to read: small ones, as wheels and as checkouts."""

from __future__ import annotations

import zipfile
from pathlib import Path

REGISTRY = """
import os
os._exit(9)  # nothing of a release that is read may run

class HookType:
    AROUND = "around"

class HookRegistry:
    @classmethod
    def register(cls, target, hook, hook_type): ...
    @classmethod
    def apply_hooks(cls): ...
"""
POOL = """
from torch import nn
from sglang.srt.mem_cache.base import Base as Parent

class SWAKVPool(Parent, nn.Module):
    def set_kv_buffer(self, layer, loc, cache_k, cache_v, scale=make(), *, swa_loc: Loc = 0): ...
    @property
    def kept(self): ...
    renamed = set_kv_buffer
"""
BASE = """
try:
    from fast import translate
except ImportError:
    def translate(kv_indices): ...
class Base:
    def translate_loc_from_full_to_swa(self, kv_indices): ...
"""
FILES = {
    "sglang/__init__.py": "raise SystemExit('imported')",
    "sglang/srt/__init__.py": "",
    "sglang/srt/plugins/__init__.py": "",
    "sglang/srt/plugins/hook_registry.py": REGISTRY,
    "sglang/srt/mem_cache/base.py": BASE,
    "sglang/srt/mem_cache/swa_memory_pool.py": POOL,
    "sglang/srt/mem_cache/elsewhere.py": "from .swa_memory_pool import *\nfrom . import base",
    "sglang/srt/mem_cache/broken.py": "def f(:",
}


def wheel(folder: Path, version: str = "0.6.0", **changed: str | None) -> Path:
    """A wheel of `FILES`; `changed`: file (without .py, / as __) -> text, None to leave it out."""
    path = folder / f"sglang-{version}-py3-none-any.whl"
    files: dict[str, str | None] = {**FILES, f"sglang-{version}.dist-info/METADATA": "Name: sglang"}
    files |= {f"{name.replace('__', '/')}.py": text for name, text in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            if text is not None:
                archive.writestr(name, text)
    return path
