"""`.pt` files: torch.save of plain tensors and numbers, read with weights_only.

An earlier page-table trap, a patch of SGLang that was handed around, wrote one of
these: the table, the lengths, the K cache's shape, page size, window, layer, forward
mode, and whether the layer is an SWA one. Its keys differ between copies of the
patch, so several names are accepted for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from triage.dump.flashinfer_api import DECODE
from triage.dump.sections import KERNEL_TILE_TOKENS, Backend, Dump, Launch, Pools, Ragged, Tables
from triage.errors import DumpError
from triage.evidence import Evidence, TensorFacts
from triage.files.torch_file import contiguous, load_torch

_NAMES = {
    "page_table": ("page_table", "block_tables", "swa_page_table"),
    "cache_seqlens": ("cache_seqlens", "cache_seqlens_int32", "seq_lens"),
    "k_cache_shape": ("k_cache_shape", "kv_cache_shape", "k_shape"),
    "page_size": ("page_size",),
    "window": ("sliding_window_size", "window_left", "window", "sliding_window"),
    "layer_id": ("layer_id", "layer"),
    "forward_mode": ("forward_mode", "mode"),
    "is_swa": ("is_swa", "is_swa_layer", "use_swa"),
}


_CONTRADICTIONS = (
    *(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
)
"""What a value of another kind than its name promises leads to."""


def load_file(path: Path) -> dict[str, Any]:
    """The dictionary in a `.pt` file, if it holds nothing that names code."""
    loaded = load_torch(path)
    if not isinstance(loaded, dict):
        raise DumpError(f"{path} holds a {type(loaded).__name__}, not a dictionary")
    return {str(key): value for key, value in loaded.items()}


def load_tensors(path: Path) -> dict[str, np.ndarray]:
    """The integer tensors of a `.pt` file, small ones only, as numpy."""
    found = {}
    for key, value in load_file(path).items():
        kind = str(getattr(value, "dtype", ""))
        if kind in ("torch.int32", "torch.int64") and value.numel() < 1 << 24:
            found[key] = contiguous(value, key)
    return found


def read_trap_file(path: Path) -> Dump:
    """The dump for a file of the earlier trap. Raises DumpError naming what is missing."""
    try:
        return _read(path)
    except _CONTRADICTIONS as error:
        raise DumpError(f"{path} contradicts itself ({type(error).__name__})") from error


def _read(path: Path) -> Dump:
    loaded = load_file(path)
    values = {
        name: next((loaded[each] for each in accepted if each in loaded), None)
        for name, accepted in _NAMES.items()
    }
    needed = ("page_table", "cache_seqlens", "k_cache_shape", "page_size")
    missing = [name for name in needed if values[name] is None]
    if missing:
        raise DumpError(
            f"{path} lacks {', '.join(missing)}: it is not a file of the earlier page-table trap"
        )
    table, lengths = _array(values["page_table"]), _array(values["cache_seqlens"]).reshape(-1)
    shape = tuple(int(extent) for extent in values["k_cache_shape"] or ())
    page_size = int(values["page_size"] or 0)
    if table.ndim != 2 or len(table) != len(lengths) or len(shape) != 4 or page_size < 1:
        raise DumpError(f"{path} contradicts itself: table {table.shape}, K cache {shape}")
    heads, head_dim = (shape[1] if shape[2] == page_size else shape[2]), shape[3]
    window = values["window"]
    reach = -(-np.maximum(lengths, 0) // KERNEL_TILE_TOKENS) * KERNEL_TILE_TOKENS
    columns = np.minimum(-(-reach // page_size), table.shape[1])
    mode = str(values["forward_mode"] or "")
    reads_swa = bool(values["is_swa"])
    facts = _facts(values["page_table"])
    return Dump(
        fault=Evidence(
            "I1", "recorded by an earlier page-table trap", "before the launch", forward_mode=mode
        ),
        launch=Launch(
            api=DECODE,
            launch_id=0,
            layer_id=int(values["layer_id"]) if values["layer_id"] is not None else None,
            page_size=page_size,
            num_q_heads=heads,
            num_kv_heads=heads,
            head_dim=head_dim,
            num_pages=shape[0],
            window_left=int(window) if window is not None else -1,
            max_seq_len=int(lengths.max(initial=0)),
            q_len_per_req=1,
            kv_layout="HND",
            separate_kv=True,
            tensors={} if facts is None else {"block_tables": facts},
        ),
        tables=Tables(page_table=Ragged.of(table, columns), cache_seqlens=lengths),
        pools=Pools((), read="swa" if reads_swa else "full"),
        backend=Backend("unknown", mode, False, len(lengths), len(lengths)),
        provenance={
            "imported": "page-table trap (.pt)",
            "lacks": ["req_to_token", "mapping", "num_q_heads", "max_seq_len", "swa_state"],
        },
    )


def _array(value: Any) -> np.ndarray:
    if not hasattr(value, "numpy"):
        return np.asarray(value, dtype=np.int64)
    return np.asarray(contiguous(value, "a tensor"))


def _facts(tensor: Any) -> TensorFacts | None:
    """None for a list or an array, which has no strides of its own to tell."""
    if not hasattr(tensor, "stride"):
        return None
    return TensorFacts(
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        stride=tuple(tensor.stride()),
        storage_offset=0,
        storage_bytes=0,
        device="cpu",
        data_ptr=0,
    )
