"""Where a value replay takes keys, values and queries from: the dump, else synthesis.

Layout of a dump's `kv` section, every part optional: `pages` `(n,)` page ids in
the pool that was read, `k` and `v` `(n, Hkv, page_size, D)` in the cache's own
type, `query` `(tokens, Hq, D)`, `sinks` `(Hq,)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triage.dump.dtypes import to_float32
from triage.dump.sections import Dump, Launch
from triage.errors import ReplayError
from triage.replay.attention import KVReader
from triage.replay.synthesis import SynthesisedCache, synthesised_query, synthesised_sinks


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything but the table that attention needs, and which of it was synthesised."""

    query: Tensor
    read_kv: KVReader
    sinks: Tensor | None
    bmm1_scale: float
    bmm2_scale: float
    synthesised: tuple[str, ...]


def inputs_of(dump: Dump, tokens: int) -> Inputs:
    """The inputs of the recorded launch, whose queries are `tokens` in number."""
    assert dump.launch is not None
    launch, stored = dump.launch, dump.kv or {}
    synthesised = []
    query_type = _type_of(launch, "query")
    if "query" in stored:
        query = torch.from_numpy(to_float32(stored["query"]).copy())
        _expect_shape("query", query, (tokens, launch.num_q_heads, launch.head_dim))
    else:
        query = synthesised_query(tokens, launch.num_q_heads, launch.head_dim, query_type)
        synthesised.append("query")
    cache = SynthesisedCache(
        "" if dump.pools is None else dump.pools.read,
        page_size=launch.page_size,
        num_kv_heads=launch.num_kv_heads,
        head_dim=launch.head_dim,
        dtype=_type_of(launch, "k_cache"),
    )
    read_kv: KVReader = cache
    if {"pages", "k", "v"} <= stored.keys():
        read_kv = StoredPages(stored["pages"], stored["k"], stored["v"], cache)
    else:
        synthesised.append("KV cache")
    sinks = None
    if "sinks" in stored:
        sinks = torch.from_numpy(to_float32(stored["sinks"]).copy())
        _expect_shape("sinks", sinks, (launch.num_q_heads,))
    elif "sinks" in launch.tensors:
        sinks = synthesised_sinks(launch.num_q_heads)
        synthesised.append("sinks")
    scales = []
    for name, usual in (("bmm1_scale", launch.head_dim**-0.5), ("bmm2_scale", 1.0)):
        scale = launch.arguments.get(name)
        if not isinstance(scale, (int, float)):
            synthesised.append(name)
        scales.append(float(scale) if isinstance(scale, (int, float)) else usual)
    return Inputs(query, read_kv, sinks, scales[0], scales[1], tuple(synthesised))


class StoredPages:
    """The pages a dump holds; any other page is synthesised, as it was not stored."""

    def __init__(
        self, pages: np.ndarray, keys: np.ndarray, values: np.ndarray, other: SynthesisedCache
    ) -> None:
        if pages.ndim != 1 or pages.dtype.kind not in "iu" or not len(pages):
            raise ReplayError("the dump's kv section does not list its pages")
        order = np.argsort(pages, kind="stable")
        self.pages = torch.from_numpy(pages[order].astype(np.int64))
        self.keys = torch.from_numpy(to_float32(keys)[order])
        self.values = torch.from_numpy(to_float32(values)[order])
        shape = (len(pages), other.num_kv_heads, other.page_size, other.codes.shape[-1])
        _expect_shape("k", self.keys, shape)
        _expect_shape("v", self.values, shape)
        self.other = other

    def __call__(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.searchsorted(self.pages, pages.contiguous()).clamp(max=len(self.pages) - 1)
        held = self.pages[place] == pages
        keys, values = self.keys[place], self.values[place]
        if not bool(held.all()):
            other_keys, other_values = self.other(pages)
            mask = held[:, :, None, None, None]
            keys = torch.where(mask, keys, other_keys)
            values = torch.where(mask, values, other_values)
        return keys, values


def zero_outside(read_kv: KVReader, num_pages: int) -> KVReader:
    """Ids outside the cache read as zeros.

    That is what the kernel's descriptor gives for ids beyond its extent and
    for negative ones; for ids that leave the tensor inside the descriptor the
    bytes are unknowable, and zeros stand for them.
    """

    def read(pages: Tensor) -> tuple[Tensor, Tensor]:
        inside = (pages >= 0) & (pages < num_pages)
        keys, values = read_kv(torch.where(inside, pages, 0))
        mask = inside[:, :, None, None, None]
        return keys * mask, values * mask

    return read


def _type_of(launch: Launch, tensor: str) -> str:
    facts = launch.tensors.get(tensor) or launch.tensors.get("kv_cache")
    return "bfloat16" if facts is None else facts.dtype


def _expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ReplayError(f"the dump's kv section has {name} {tuple(tensor.shape)}, not {shape}")
