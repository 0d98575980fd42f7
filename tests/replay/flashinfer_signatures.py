"""Parameter lists of FlashInfer's attention entries, read from wheels without importing them.

    python -m tests.replay.flashinfer_signatures flashinfer_python-*.whl > \
        tests/replay/flashinfer_signatures.json

The JSON beside this file was made so, from the published wheels it names.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from pathlib import Path

ENTRIES = {
    "trtllm_batch_decode_with_kv_cache": "flashinfer/decode.py",
    "xqa_batch_decode_with_kv_cache": "flashinfer/decode.py",
    "trtllm_batch_context_with_kv_cache": "flashinfer/prefill.py",
    "BatchPrefillWithPagedKVCacheWrapper.__init__": "flashinfer/prefill.py",
    "BatchPrefillWithPagedKVCacheWrapper.plan": "flashinfer/prefill.py",
    "BatchPrefillWithPagedKVCacheWrapper.run": "flashinfer/prefill.py",
}


def signatures_of(wheel: Path) -> dict[str, dict[str, list[str]]]:
    """Entry -> {"required": names without a default, "optional": names with one}."""
    with zipfile.ZipFile(wheel) as archive:
        sources = {path: archive.read(path).decode() for path in set(ENTRIES.values())}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    return {entry: _parameters(trees[path], entry) for entry, path in ENTRIES.items()}


def _parameters(tree: ast.Module, entry: str) -> dict[str, list[str]]:
    owner, _, name = entry.rpartition(".")
    body: list[ast.stmt] = tree.body
    if owner:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == owner).body
    # Overloads come first; the last definition is the one that is called.
    function = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == name][-1]
    arguments = function.args
    positional = [each.arg for each in arguments.posonlyargs + arguments.args]
    plain = len(positional) - len(arguments.defaults)
    keyword = [
        (each.arg, default is not None)
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    required = positional[:plain] + [name for name, has_default in keyword if not has_default]
    optional = positional[plain:] + [name for name, has_default in keyword if has_default]
    return {
        "required": [name for name in required if name != "self"],
        "optional": optional + ([f"*{arguments.vararg.arg}"] if arguments.vararg else []),
    }


if __name__ == "__main__":
    wheels = sorted(map(Path, sys.argv[1:]))
    found = {wheel.name.split("-")[1]: signatures_of(wheel) for wheel in wheels}
    print(json.dumps(found, indent=1))
