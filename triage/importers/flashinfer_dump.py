"""FlashInfer's level-10 dump of a trtllm decode or context call.

Layout: `metadata.jsonl` (one record per state, the last one is the fullest) and
`inputs.safetensors` or `inputs.pt`. The callable that the metadata names is
compared with the two we know and never imported. Of the tensors only the index
ones are read: the whole KV pool may lie beside them.

FlashInfer 0.6.11 saves nothing of a `kv_cache` that is a tuple, which SGLang's
is, not even its shape; the reader must be told it then.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from triage.dump.dtypes import PLAIN
from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.dump.sections import KERNEL_TILE_TOKENS, Dump, Launch, Ragged, Tables
from triage.errors import DumpError
from triage.evidence import Evidence, TensorFacts
from triage.files.reading import open_regular
from triage.importers.flashinfer_folder import (
    HOW_TO_GET_IT,
    MAX_RECORD_BYTES,
    LoggedCall,
    calls_of,
    choose,
)

MAX_TENSORS_BYTES = 1 << 40  # the KV cache and all; only the index tensors are read
MAX_INDEX_BYTES = 64 << 20

_POSITIONAL = {
    DECODE: ("query", "kv_cache", "workspace_buffer", "block_tables", "seq_lens", "max_seq_len"),
    CONTEXT: (
        *("query", "kv_cache", "workspace_buffer", "block_tables", "seq_lens", "max_q_len"),
        *("max_kv_len", "bmm1_scale", "bmm2_scale", "batch_size", "cum_seq_lens_q"),
        *("cum_seq_lens_kv", "window_left"),
    ),
}
_INDEX_TENSORS = ("block_tables", "seq_lens", "cum_seq_lens_q", "cum_seq_lens_kv")
_SAFETENSORS_TYPES = {"I32": "int32", "I64": "int64", "U32": "uint32", "I16": "int16"}


def read_level10(directory: Path, cache_shape: tuple[int, int, int, int] | None = None) -> Dump:
    """The call in `directory`, or the newest in the folder of calls that it is.

    Args:
        cache_shape: `(pages, Hkv, page_size, D)`, used where the call does not say it.
    Raises:
        DumpError: it holds neither of the two attention calls, or not its tensors.
    """
    calls = calls_of(directory)
    return read_call(choose(calls), cache_shape)


def read_call(call: LoggedCall, cache_shape: tuple[int, int, int, int] | None = None) -> Dump:
    """One logged call as a dump; as `read_level10`."""
    directory, metadata = call.directory, call.metadata
    api = call.name.rpartition(".")[2]
    if api not in _POSITIONAL:
        kind = "attention, but not one that is covered" if call.attention else "not of attention"
        raise DumpError(f"{directory} holds a call of {call.name or 'nothing known'}, {kind}")
    if not call.has_inputs:
        raise DumpError(f"{directory} holds no tensors. {call.sentence()}; {HOW_TO_GET_IT}")
    named = _by_name(metadata, api)
    index = _index_tensors(directory, api)
    missing = [name for name in ("block_tables", "seq_lens") if name not in index]
    if missing:
        raise DumpError(f"{directory} does not hold {' and '.join(missing)}")
    if cache_shape is not None and not {"k_cache", "kv_cache"} & _tensors(named):
        _, heads, page_size, head_dim = cache_shape
        row = heads * page_size * head_dim
        stride = [row, page_size * head_dim, head_dim, 1]
        named["k_cache"] = {"shape": [*cache_shape], "stride": stride, "dtype": "bfloat16"}
        named["kv_layout"] = "HND"
    return _dump(api, metadata, named, index, call)


def _tensors(named: dict[str, Any]) -> set[str]:
    """The arguments whose facts as tensors are known."""
    return {name for name, each in named.items() if _facts(each) is not None}


def _by_name(metadata: dict[str, Any], api: str) -> dict[str, Any]:
    """Argument name -> what the metadata says of it: a scalar, or a tensor's facts."""
    found: dict[str, Any] = {}
    sources = (metadata.get("tensor_details"), metadata.get("input_metadata"))
    for source in sources:
        for key, value in (source if isinstance(source, dict) else {}).items():
            name = _argument_name(str(key), api)
            if name:
                found[name] = value
    return found


def _argument_name(key: str, api: str) -> str:
    """`kwarg_kv_cache__0` -> `k_cache`, `arg_3` -> `block_tables`; empty for anything else."""
    stem, _, part = key.partition("__")
    if stem.startswith("kwarg_"):
        name = stem.removeprefix("kwarg_")
    elif stem.startswith("arg_") and stem[4:].isdigit():
        positional = _POSITIONAL[api]
        index = int(stem[4:])
        name = positional[index] if index < len(positional) else ""
    else:
        return ""
    if name == "kv_cache" and part in ("0", "1"):
        return ("k_cache", "v_cache")[int(part)]
    return "" if part else name


def _index_tensors(directory: Path, api: str) -> dict[str, np.ndarray]:
    safetensors, torch_file = directory / "inputs.safetensors", directory / "inputs.pt"
    if safetensors.exists():
        return _from_safetensors(safetensors, api)
    if torch_file.exists():
        return _from_torch(torch_file, api)
    raise DumpError(f"{directory} holds neither inputs.safetensors nor inputs.pt")


def _from_safetensors(path: Path, api: str) -> dict[str, np.ndarray]:
    """The index tensors alone; each is read at its own offset."""
    found = {}
    try:
        with open_regular(path, MAX_TENSORS_BYTES) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_RECORD_BYTES:
                raise DumpError(f"{path} claims a header of {length} bytes")
            header = json.loads(file.read(length))
            for key, facts in header.items():
                name = _argument_name(key, api)
                if name not in _INDEX_TENSORS:
                    continue
                dtype = PLAIN[_SAFETENSORS_TYPES[facts["dtype"]]]
                start, stop = facts["data_offsets"]
                if not 0 <= stop - start <= MAX_INDEX_BYTES:
                    raise DumpError(f"{path}: {name} has {stop - start} bytes")
                file.seek(8 + length + start)
                raw = np.frombuffer(file.read(stop - start), dtype=dtype)
                found[name] = raw.reshape(facts["shape"])
    except OSError as error:
        raise DumpError(f"cannot read {path}: {error.strerror}") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DumpError(f"{path} is no whole safetensors file: {error}") from error
    return found


def _from_torch(path: Path, api: str) -> dict[str, np.ndarray]:
    from triage.importers.trap_file import load_tensors

    return {
        name: tensor
        for key, tensor in load_tensors(path).items()
        if (name := _argument_name(key, api)) in _INDEX_TENSORS
    }


def _dump(
    api: str,
    metadata: dict[str, Any],
    named: dict[str, Any],
    index: dict[str, np.ndarray],
    call: LoggedCall,
) -> Dump:
    directory = call.directory
    tensors = {name: facts for name, each in named.items() if (facts := _facts(each)) is not None}
    lacks = ["req_to_token", "mapping", "pools", "backend"]
    cache = tensors.get("k_cache") or tensors.get("kv_cache")
    query = tensors.get("query")
    if cache is None or query is None or len(cache.shape) < 4 or len(query.shape) < 2:
        raise DumpError(
            f"{directory} does not say the shape of the KV cache (FlashInfer 0.6.11 saves none for "
            "a tuple); give it with --cache-shape PAGES HEADS PAGE_SIZE HEAD_DIM"
        )
    layout = named.get("kv_layout") if isinstance(named.get("kv_layout"), str) else "HND"
    pages, first, second, head_dim = cache.shape[0], *cache.shape[-3:-1], cache.shape[-1]
    page_size, kv_heads = (second, first) if layout == "HND" else (first, second)
    lengths = index["seq_lens"].reshape(-1).astype(np.int64)
    table = index["block_tables"]
    recorded: dict[str, object] = {"kind": "imported", "call": call.sentence()}
    if call.captured:
        lacks.append("the replay that faulted")
        recorded["absent"] = f"{call.sentence()}; {HOW_TO_GET_IT}"
    if table.ndim == 3 and table.shape[1] == 2:  # uses_shared_paged_kv_idx=False: K's and V's
        if (table[:, 0] != table[:, 1]).any():
            lacks.append("V's page table, which is not K's")
        table = table[:, 0]
    if table.ndim != 2 or len(table) != len(lengths):
        raise DumpError(f"{directory}: block_tables {table.shape} does not fit {len(lengths)} rows")
    reach = -(-np.maximum(lengths, 0) // KERNEL_TILE_TOKENS) * KERNEL_TILE_TOKENS
    columns = np.minimum(-(-reach // max(page_size, 1)), table.shape[1])
    scalars = {
        name: plain
        for name, each in named.items()
        if (plain := _type_name(each)) is None or isinstance(plain, (bool, int, float, str))
    }
    offsets = index.get("cum_seq_lens_q")
    versions = metadata.get("versions")
    return Dump(
        fault=Evidence(
            "",
            "imported from FlashInfer; no invariant was checked",
            "FlashInfer dump",
            facts=recorded,
        ),
        launch=Launch(
            api=api,
            launch_id=_integer(metadata.get("call_sequence"), 0),
            layer_id=None,
            page_size=page_size,
            num_q_heads=query.shape[-2] if len(query.shape) == 3 else 1,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            num_pages=pages,
            window_left=_integer(scalars.get("window_left"), -1),
            max_seq_len=_integer(scalars.get("max_seq_len", scalars.get("max_kv_len")), 0),
            q_len_per_req=0 if offsets is not None else _integer(scalars.get("q_len_per_req"), 1),
            kv_layout=str(layout),
            separate_kv="k_cache" in tensors or len(cache.shape) < 5,
            arguments=scalars,
            tensors=tensors,
            cum_seq_lens_q=None if offsets is None else offsets.astype(np.int64),
        ),
        tables=Tables(page_table=Ragged.of(table, columns), cache_seqlens=lengths),
        provenance={
            "imported": "FlashInfer level 10",
            "lacks": lacks,
            "versions": versions if isinstance(versions, dict) else {},
        },
    )


def _type_name(value: Any) -> Any:
    """A torch.dtype is recorded as a small dictionary; anything else is returned as it is."""
    if isinstance(value, dict) and value.get("type") == "torch.dtype":
        return str(value.get("value"))
    return value


def _facts(value: Any) -> TensorFacts | None:
    if not isinstance(value, dict) or "shape" not in value or "dtype" not in value:
        return None
    shape, stride = _integers(value["shape"]), _integers(value.get("stride"))
    if shape is None or stride is None or len(shape) != len(stride):
        return None
    dtype = str(value["dtype"]).removeprefix("torch.")
    return TensorFacts(dtype, tuple(shape), tuple(stride), 0, 0, str(value.get("device", "")), 0)


def _integers(value: Any) -> list[int] | None:
    plain = isinstance(value, list) and all(type(each) is int for each in value)
    return value if plain else None


def _integer(value: Any, default: int) -> int:
    return value if type(value) is int else default
