"""The contract of a selection, on rows made to be hard.

Ids alone cannot be compared where logits tie, and sets of ids hide a wrong order. So:
ids are distinct and in range, the selected logits equal the K largest bit for bit, ties
go to the lower id, and NaN, infinities and signed zeros do what torch does with them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import same_bits, same_specials


def hard_rows(experts: int, topk: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Rows of logits by what is hard about them."""
    generator = torch.Generator().manual_seed(7)
    plain = torch.randn(experts, generator=generator)
    rows = {
        "plain": plain,
        "all equal": torch.full((experts,), 0.5),
        "all negative": -plain.abs() - 1,
        "bf16 grid, many ties": (plain * 4).round() / 4,
        "wide spread": plain * 60,
    }
    boundary = torch.full((experts,), 0.25)
    boundary[experts - max(1, topk // 2) :] = 2.0
    rows["ties across the K boundary"] = boundary
    zeros = torch.zeros(experts)
    zeros[::2] = -0.0
    rows["signed zeros tie"] = zeros
    few = torch.full((experts,), -torch.inf)
    few[-topk:] = plain[-topk:]
    rows["-inf but for K"] = few
    fewer = few.clone()
    fewer[-1] = -torch.inf
    rows["-inf but for K - 1"] = fewer
    rows["all -inf"] = torch.full((experts,), -torch.inf)
    rows["all NaN"] = torch.full((experts,), torch.nan)  # what padding of a graph makes
    rows["all +inf"] = torch.full((experts,), torch.inf)
    rows["NaN but for one"] = torch.where(torch.arange(experts) == experts // 2, 0.5, torch.nan)
    rows["far below zero"] = plain - 3e4
    rows["descending"] = torch.linspace(3, -3, experts)
    for name, value in (("+NaN", torch.nan), ("-NaN", -torch.nan), ("+inf", torch.inf)):
        special = plain.clone()
        special[experts // 2] = value
        rows[f"one {name}"] = special
    if experts > 1:
        pair = plain.clone()
        pair[0], pair[-1] = torch.inf, torch.inf
        rows["two +inf"] = pair
        both = plain.clone()
        both[0], both[-1] = torch.nan, torch.inf
        rows["NaN and +inf"] = both
    # A NaN of either sign is made from its bits: a GPU makes positive ones only, and a
    # CPU's cast to bfloat16 negative ones only.
    hard = {name: row.to(dtype) for name, row in rows.items()}
    as_int = torch.int32 if dtype == torch.float32 else torch.int16
    sign = torch.iinfo(as_int).min
    for name in ("one +NaN", "NaN and +inf", "all NaN"):
        if name in hard:
            hard[name].view(as_int)[hard[name].isnan()] &= ~sign
    hard["one -NaN"].view(as_int)[experts // 2] |= sign
    return hard


def selection_contract(subject: Subject) -> Iterator[Finding]:
    """Selection and weights on ties, signed zeros, NaN and infinities."""
    if subject.spec.judge != "routing":
        yield skipped("-", "no selection")
        return
    for case in subject.cases:
        args = subject.make(case, 3)
        experts, topk = args["router_logits"].shape[1], args["topk"]
        rows = hard_rows(experts, topk, subject.dtype)
        logits = torch.stack(list(rows.values())).to(subject.device)
        args["router_logits"] = logits
        weights, ids = subject.run(args)
        want_weights, want_ids = subject.eager(args)
        for row, name in enumerate(rows):
            where = f"{case.name}, {name}"
            mine = ids[row].long()
            if bool(((mine < 0) | (mine >= experts)).any()):
                yield failed(where, f"ids {mine.tolist()} outside [0, {experts})")
                continue
            if len(set(mine.tolist())) != topk:
                yield failed(where, f"ids {mine.tolist()} are not distinct")
                continue
            # -0 and +0 are one value, all NaN are one: compare after both are made so.
            chosen, best = (
                logits[row].float()[i].add(0.0).nan_to_num(nan=torch.inf, posinf=3e38)
                for i in (mine, want_ids[row].long())
            )
            difference = same_bits(chosen, best)
            if difference.count:
                yield failed(where, f"selected logits: {difference.describe()}")
                continue
            if not torch.equal(mine, want_ids[row].long()):
                yield failed(
                    where, f"ties: ids {mine.tolist()}, lowest first {want_ids[row].tolist()}"
                )
                continue
            special = same_specials(weights[row], want_weights[row])
            if special.count:
                yield failed(where, f"NaN in weights: {special.describe()}")
                continue
            spread = float((chosen.max() - chosen.min()).nan_to_num(0.0).clamp(max=1e4))
            error = (weights[row] - want_weights[row]).abs().nan_to_num(0.0)
            allowed = (2 + spread) * 2.0**-22 * want_weights[row].abs().nan_to_num(0.0) + 1e-38
            excess = float((error / allowed).max())
            make = passed if excess <= 1 else failed
            yield make(where, f"weights at {excess:.3g} of the bound", excess)


def illegal_ids(subject: Subject) -> Iterator[Finding]:
    """An id that is no expert gives a NaN weight, is handed on, and changes no other weight."""
    for case in subject.cases:
        args = subject.make(case, 4, seed=17)
        if "topk_ids" not in args:
            yield skipped(case.name, "takes no ids")
            return
        experts = args["per_expert_scale"].shape[0]
        before = subject.run(args)[0]
        args["topk_ids"] = args["topk_ids"].clone()
        # Just outside: -1 is what padding leaves, E what marks an expert of another rank.
        for row, illegal in enumerate((-1, experts, experts + 3)):
            args["topk_ids"][row, -1] = illegal
        weights, ids = subject.run(args)
        found = weights[:3, -1]
        make = passed if bool(found.isnan().all()) else failed
        yield make(case.name, f"weights {found.tolist()} of ids -1, E and E + 3; allowed: NaN")
        weights[:3, -1] = before[:3, -1]
        for name, mine, other in (("weights", weights, before), ("ids", ids, args["topk_ids"])):
            difference = same_bits(mine, other.to(mine.dtype))
            make = failed if difference.count else passed
            yield make(f"{case.name}, {name} beside illegal ids", difference.describe())
