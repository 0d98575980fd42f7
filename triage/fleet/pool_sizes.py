"""How many tokens and requests a hybrid KV pool holds, and which SWA ratio admits the most.

SGLang splits KV memory so that the SWA pool has `ratio` times the tokens of the full pool:
full = memory / (F + ratio * S), with F and S the bytes per token of all full and all
sliding layers; both are then rounded down to pages. This repeats that arithmetic from a
model's `config.json`, for one GPU. Layers that share the keys of earlier ones write none, and
SGLang allocates for them all the same (0.5.14's logs; no release to 0.5.23 looks at
`num_kv_shared_layers` there), so every layer counts.

A request holds all its tokens in the full pool. In the SWA pool it holds its window, once
the tokens behind it are given back, or, as long as a radix cache protects its prompt,
all of them; both bounds are printed, and where a server lies between them is its cache's
doing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from triage.errors import TriageError

DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1}


class PoolError(TriageError):
    """A model config lacks what the arithmetic needs, or memory is too small; says what."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a model's pools keep per token. Layers are all of that kind.

    full_bytes, swa_bytes: of one token in one layer of that kind, K and V together.
    """

    name: str
    full_layers: int
    swa_layers: int
    full_bytes: int
    swa_bytes: int
    window: int
    experts: int

    @property
    def full_token_bytes(self) -> int:
        return self.full_layers * self.full_bytes

    @property
    def swa_token_bytes(self) -> int:
        return self.swa_layers * self.swa_bytes


def model_of(config: dict[str, Any], dtype: str = "bf16") -> Model:
    """Read a Gemma-4 `config.json`, multimodal or text only. Raises PoolError naming what lacks."""
    text = config.get("text_config", config)
    try:
        kinds = _layer_kinds(text)
        heads = text["num_key_value_heads"]
        swa_dim = text["head_dim"]
    except KeyError as error:
        raise PoolError(f"the config has no {error.args[0]!r}; is it a Gemma-4 config?") from None
    full_dim = text.get("global_head_dim") or swa_dim
    full_heads = text.get("num_global_key_value_heads") or heads
    swa_heads = text.get("swa_num_key_value_heads") or heads  # written by SGLang's rewrite of
    swa_dim = text.get("swa_head_dim") or swa_dim  # the head fields, and by `triage lab serve`
    element = DTYPE_BYTES[dtype]
    return Model(
        name=str((config.get("architectures") or ["model"])[0]),
        full_layers=kinds.count(False),
        swa_layers=kinds.count(True),
        full_bytes=2 * full_heads * full_dim * element,
        swa_bytes=2 * swa_heads * swa_dim * element,
        window=int(text.get("sliding_window") or 0),
        experts=int(text.get("num_experts") or 0),
    )


def _layer_kinds(text: dict[str, Any]) -> list[bool]:
    """Per layer: does it slide?"""
    if "layer_types" in text:
        return [kind == "sliding_attention" for kind in text["layer_types"]]
    every = text["sliding_window_pattern"]
    return [(index + 1) % every != 0 for index in range(text["num_hidden_layers"])]


@dataclass(frozen=True, slots=True)
class Workload:
    """Tokens of one request; `extra` are those a speculative step needs beyond it."""

    input_tokens: int
    output_tokens: int
    extra: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.extra


@dataclass(frozen=True, slots=True)
class Pools:
    """Sizes at one ratio and the requests that fit. `requests` if the window is given back,
    `requests_kept` if a radix cache keeps every token of a running request.
    """

    ratio: float
    full_tokens: int
    swa_tokens: int
    requests: int
    requests_kept: int
    limited_by: str


def pools_at(
    model: Model, memory: int, ratio: float, workload: Workload, page_size: int = 1
) -> Pools:
    """SGLang's split of `memory` bytes. Raises PoolError where not one request fits."""
    full, swa = split(full_tokens(model, memory, ratio), ratio, page_size)
    whole = _up(workload.tokens, page_size)
    windowed = swa_tokens_of(model, workload, page_size)
    by_full, by_swa = full // whole, swa // windowed
    if min(by_full, by_swa) < 1:
        raise PoolError(
            f"{memory / 2**30:.2f} GiB hold {full} full and {swa} SWA tokens at ratio {ratio}; "
            f"one request needs {whole} and {windowed}"
        )
    return Pools(
        ratio=ratio,
        full_tokens=full,
        swa_tokens=swa,
        requests=min(by_full, by_swa),
        requests_kept=min(by_full, swa // whole),
        limited_by="full pool" if by_full <= by_swa else "SWA pool",
    )


def full_tokens(model: Model, memory: int, ratio: float) -> int:
    """Tokens of the full pool that `memory` bytes hold, before SGLang rounds them to pages."""
    if not 0 < ratio <= 1:
        raise PoolError(f"the ratio must be in (0, 1], not {ratio}")
    return int(memory // (model.full_token_bytes + ratio * model.swa_token_bytes))


def split(tokens: int, ratio: float, page_size: int) -> tuple[int, int]:
    """Full and SWA tokens of `tokens` wanted: each rounded down to whole pages."""
    full = _down(tokens, page_size)
    return full, _down(int(full * ratio), page_size)


def swa_tokens_of(model: Model, workload: Workload, page_size: int) -> int:
    """What a decoding request keeps in the SWA pool: its window, a page begun, the step ahead."""
    return _up(min(workload.tokens, model.window + workload.extra + page_size), page_size)


def best_ratio(model: Model, workload: Workload, page_size: int = 1) -> float:
    """The ratio at which both pools run out together, and so the most requests fit.

    Below it the SWA pool is the limit and grows with the ratio, above it the full pool is
    and shrinks. Rounded up to three digits, so that the full pool is the limit.
    """
    share = swa_tokens_of(model, workload, page_size) / _up(workload.tokens, page_size)
    return min(math.ceil(share * 1000) / 1000, 1.0)


_WRITTEN = "write 101.9GiB, 109.4GB or a number of bytes"


def parse_bytes(text: str) -> int:
    """ "101.9GiB", "109.4GB" or a plain number of bytes. Raises PoolError."""
    given = text
    units = {"GiB": 2**30, "MiB": 2**20, "GB": 10**9, "MB": 10**6, "B": 1}
    for unit, factor in units.items():
        if text.endswith(unit):
            text, scale = text[: -len(unit)], factor
            break
    else:
        scale = 1
    try:
        size = int(float(text) * scale)
    except (ValueError, OverflowError):
        raise PoolError(f"{given!r} is not a size; {_WRITTEN}") from None
    if size <= 0:
        raise PoolError(f"{given!r} is {size} bytes, a pool needs at least 1; {_WRITTEN}")
    return size


def _down(tokens: int, page_size: int) -> int:
    return tokens // page_size * page_size


def _up(tokens: int, page_size: int) -> int:
    return -(-tokens // page_size) * page_size
