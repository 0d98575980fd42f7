"""Random launches for the checker: plausible ones with a few defects, and pure garbage."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from triage.invariants.reads import IndexSpace

GARBAGE = (-(2**31), -1, 0, 1, 7, 2**31 - 1)


@dataclass(frozen=True)
class Batch:
    """Arguments of one check, on the CPU; `on` moves them."""

    block_tables: Tensor
    cache_seqlens: Tensor
    space: IndexSpace
    options: dict[str, Any]

    def on(self, device: str) -> Batch:
        def move(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        return replace(
            self,
            block_tables=self.block_tables.to(device),
            cache_seqlens=self.cache_seqlens.to(device),
            options={name: move(value) for name, value in self.options.items()},
        )

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.block_tables, self.cache_seqlens, self.space), self.options


def random_batch(seed: int, *, max_rows: int = 5, max_width: int = 20) -> Batch:
    """A launch drawn from `seed`: legal, then spoilt in a few places or everywhere."""
    draw = random.Random(seed)
    page = draw.choice([1, 16, 32, 64, 128])
    rows, width = draw.randint(0, max_rows), draw.randint(1, max_width)
    full_pages = rows * width + 8
    requests = rows + 3
    context = width * page + draw.choice([0, 0, 4, -1 if width * page > 1 else 0])
    mapped = draw.random() < 0.6
    swa_pages = full_pages // 2 + 2 if mapped else full_pages

    req_to_token = torch.zeros(requests, context, dtype=torch.int32)
    order = list(range(1, full_pages))
    draw.shuffle(order)
    mapping = torch.zeros(full_pages * page + 1, dtype=draw.choice([torch.int64, torch.int32]))
    mapping[-1] = -1
    owners = draw.sample(range(1, requests), rows)
    lengths = [draw.randint(1, width * page) for _ in range(rows)]
    table = torch.full((rows, width), -7, dtype=torch.int32)
    swa_ids = list(range(1, swa_pages))
    draw.shuffle(swa_ids)
    window = draw.choice([-1, 0, page - 1, page, 3 * page, 2**31 - 1])
    queries = [draw.randint(1, min(4, length)) for length in lengths]
    for row in range(rows):
        oldest = max(0, lengths[row] - queries[row] - window) if window >= 0 else 0
        for column in range(-(-lengths[row] // page)):
            full = order.pop()
            start, stop = column * page, min((column + 1) * page, context)
            slots = torch.arange(full * page, full * page + stop - start)
            req_to_token[owners[row], start:stop] = slots.to(torch.int32)
            identity = full
            if mapped:
                evicted = column < oldest // page and draw.random() < 0.7
                identity = 0 if evicted or not swa_ids else swa_ids.pop()
                ids = torch.arange(identity * page, (identity + 1) * page)
                mapping[full * page : (full + 1) * page] = ids if identity else 0
            table[row, column] = identity

    real = draw.randint(0, rows)
    pad = draw.random() < 0.5
    owners_tensor = torch.tensor(owners, dtype=draw.choice([torch.int64, torch.int32]))
    seqlens = torch.tensor(lengths, dtype=torch.int32)
    if pad:
        owners_tensor[real:], seqlens[real:], table[real:] = 0, 1, 0
    space = IndexSpace("swa" if mapped else "full", page, swa_pages)

    spoil = draw.choice([0, 0, 1, 3, 1000])
    for _ in range(spoil):
        target = draw.choice([table, table, table, seqlens, owners_tensor, req_to_token, mapping])
        if target.numel():
            value = draw.choice([*GARBAGE, space.num_pages, space.num_pages - 1, 2 * page])
            target.view(-1)[draw.randrange(target.numel())] = value

    options: dict[str, Any] = {"window_left": window}
    style = draw.choice(["one", "rows", "cumulative"])
    if style == "one":
        options["q_len"] = draw.randint(0, 4)
    else:
        per_row = torch.tensor(queries, dtype=torch.int32)
        cumulative = torch.zeros(rows + 1, dtype=torch.int32)
        cumulative[1:] = per_row.cumsum(0)
        options |= {"q_len": per_row} if style == "rows" else {"cum_seq_lens_q": cumulative}
    if draw.random() < 0.8:
        options["req_pool_indices"] = owners_tensor
        if draw.random() < 0.8:
            options["req_to_token"] = req_to_token
            if mapped:
                options["full_to_swa"] = mapping
    if pad or draw.random() < 0.3:
        options["num_real_rows"] = draw.choice([real, torch.tensor([real], dtype=torch.int32)])
    return Batch(table, seqlens, space, options)
