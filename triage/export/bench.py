"""A flashinfer-bench definition and its workloads: tables from the dump, values left random.

The first workload is the launch as recorded, the second the same with its table
rebuilt, where the dump says what is right. The definition is our own, because
the published paged ones know no window. Its reference is plain torch, and raises
where the table leaves the cache or names padding.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np

from triage.errors import ReplayError
from triage.export.literals import Literals

_REFERENCE = """\
import torch


@torch.no_grad()
def run(q, k_cache, v_cache, page_table, seq_lens, sm_scale):
    rows, heads, dim = q.shape
    pages, page_size, kv_heads, _ = k_cache.shape
    output = torch.zeros_like(q)
    for row in range(rows):
        length = int(seq_lens[row])
        first = max(0, length - 1 - WINDOW_LEFT) if WINDOW_LEFT >= 0 else 0
        at = torch.arange(first, length, device=q.device)
        ids = page_table[row][at // page_size].long()
        if bool(((ids < 1) | (ids >= pages)).any()):
            raise IndexError("a visible page id is outside the cache, or padding")
        group = heads // kv_heads
        keys = k_cache[ids, at % page_size].float().repeat_interleave(group, dim=1)
        values = v_cache[ids, at % page_size].float().repeat_interleave(group, dim=1)
        logits = torch.einsum("hd,thd->ht", q[row].float(), keys) * sm_scale
        output[row] = torch.einsum("ht,thd->hd", logits.softmax(-1), values).to(q.dtype)
    return output
"""


def bench_files(case: Literals) -> dict[str, bytes]:
    """definitions/, workloads/ and blob/ in a trace set's layout."""
    values = case.values
    if set(values["Q_LENS"]) - {1}:
        raise ReplayError("a flashinfer-bench decode workload has one query per row")
    name = (
        f"gqa_paged_decode_window_h{values['NUM_Q_HEADS']}_kv{values['NUM_KV_HEADS']}"
        f"_d{values['HEAD_DIM']}_ps{values['PAGE_SIZE']}_w{values['WINDOW_LEFT'] + 1}"
    )
    tables = [values["PAGE_TABLE"]]
    rebuilt = _rebuilt(values)
    if rebuilt is not None and rebuilt != tables[0]:
        tables.append(rebuilt)
    workloads, blobs = [], {}
    for table in tables:
        workload, path, blob = _workload(name, values, table)
        workloads.append(json.dumps(workload) + "\n")
        blobs[path] = blob
    definition = json.dumps(_definition(name, case), indent=2) + "\n"
    return {
        f"definitions/gqa_paged/{name}.json": definition.encode(),
        f"workloads/gqa_paged/{name}.jsonl": "".join(workloads).encode(),
        **blobs,
    }


def _workload(
    name: str, values: dict[str, Any], rows: list[list[int]]
) -> tuple[dict[str, Any], str, bytes]:
    """The workload over one table, and the path and content of what it stores."""
    width = max(map(len, rows))
    table = _int32("page_table", [row + [0] * (width - len(row)) for row in rows])
    lengths = _int32("seq_lens", values["CACHE_SEQLENS"])
    blob = safetensors_bytes({"page_table": table, "seq_lens": lengths})
    identity = hashlib.sha256(blob).hexdigest()[:32]
    path = f"blob/workloads/gqa_paged/{name}/{identity}.safetensors"
    workload = {
        "definition": name,
        "workload": {
            "uuid": identity,
            "axes": {"batch_size": len(rows), "num_pages": values["NUM_PAGES"], "width": width},
            "inputs": {
                "q": {"type": "random"},
                "k_cache": {"type": "random"},
                "v_cache": {"type": "random"},
                "page_table": _stored(path, "page_table"),
                "seq_lens": _stored(path, "seq_lens"),
                "sm_scale": {"type": "scalar", "value": values["HEAD_DIM"] ** -0.5},
            },
        },
        "solution": None,
        "evaluation": None,
    }
    return workload, path, blob


def _rebuilt(values: dict[str, Any]) -> list[list[int]] | None:
    """The table with the right page wherever the dump says it; None where it says nothing."""
    starts, mapping = values["PAGE_STARTS"], values["FULL_TO_SWA"]
    if starts is None:
        return None
    table = [list(row) for row in values["PAGE_TABLE"]]
    for row, length in enumerate(values["CACHE_SEQLENS"]):
        live = -(-length // values["PAGE_SIZE"])
        for column, slot in enumerate(starts[row][: min(live, len(table[row]))]):
            right = slot if mapping is None else mapping.get(slot)
            if right is not None:
                table[row][column] = right // values["PAGE_SIZE"]
    return table


def _definition(name: str, case: Literals) -> dict[str, Any]:
    values = case.values
    cache = ["num_pages", "page_size", "num_kv_heads", "head_dim"]
    constant = {
        "num_qo_heads": values["NUM_Q_HEADS"],
        "num_kv_heads": values["NUM_KV_HEADS"],
        "head_dim": values["HEAD_DIM"],
        "page_size": values["PAGE_SIZE"],
    }
    query = {"shape": ["batch_size", "num_qo_heads", "head_dim"], "dtype": "bfloat16"}
    return {
        "name": name,
        "description": f"Paged decode with a window, from a recorded fault ({case.recorded})",
        "op_type": "gqa_paged",
        "tags": [
            "stage:decode",
            "fi_api:flashinfer.decode.trtllm_batch_decode_with_kv_cache",
        ],
        "axes": {
            "batch_size": {"type": "var"},
            "num_pages": {"type": "var"},
            "width": {"type": "var"},
            **{axis: {"type": "const", "value": value} for axis, value in constant.items()},
        },
        "inputs": {
            "q": query,
            "k_cache": {"shape": cache, "dtype": "bfloat16"},
            "v_cache": {"shape": cache, "dtype": "bfloat16"},
            "page_table": {"shape": ["batch_size", "width"], "dtype": "int32"},
            "seq_lens": {"shape": ["batch_size"], "dtype": "int32"},
            "sm_scale": {"shape": None, "dtype": "float32"},
        },
        "outputs": {"output": query},
        "reference": _REFERENCE.replace("WINDOW_LEFT", str(int(values["WINDOW_LEFT"]))),
    }


def _int32(name: str, values: list[Any]) -> np.ndarray:
    wide = np.array(values, dtype=np.int64)
    narrow = wide.astype("<i4")
    if (narrow != wide).any():
        first = tuple(np.argwhere(narrow != wide)[0].tolist())
        raise ReplayError(
            f"{name}{list(first)} = {wide[first]} does not fit int32, which the kernels of a "
            "FlashInfer-Bench workload take: [-2**31, 2**31); export it as pytest or script"
        )
    return narrow


def _stored(path: str, key: str) -> dict[str, str]:
    return {"type": "safetensors", "path": path, "tensor_key": key}


def safetensors_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """int32 arrays as a safetensors file: header length, JSON header, raw data."""
    header, data = {}, b""
    for name, array in arrays.items():
        raw = array.astype("<i4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "I32", "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data
