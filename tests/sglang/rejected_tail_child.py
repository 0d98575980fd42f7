"""A request whose last page holds rejected drafts ends: what stays mapped of the page? JSON.

python -m tests.sglang.rejected_tail_child DIRECTORY

For releases whose frozen-KV MTP and ngram workers give rejected slots back after each verification.
Real: request, batch, trees, allocators, the verifications' own allocation and release. Stub: the
kernel that compares drafts with the target's choice (it accepts none), the forward, and the move
of what an ngram verification accepted, which stays where it is when that is the first token.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.explain import explain
from triage.lab.ngram import verify_input
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import Scenario, find

DIRECTORY = Path(sys.argv[1])
PROMPT, DRAFTS, VOCAB = 72, 4, 4096


def accepts_none(*_: Any, **given: Any) -> tuple[Any, Any, Any]:
    """In place of `verify_tree_greedy`: the first token of each row, and no draft."""
    predicts, accepted = given["predicts"], given["accept_index"]
    predicts.fill_(7)
    accepted.fill_(-1)
    rows = given.get("retrieve_index", given.get("retrive_index"))  # ngram's has SGLang's spelling
    accepted[:, 0] = rows[:, 0]
    given["accept_token_num"].zero_()
    return predicts, accepted, given["accept_token_num"]


def ngram(batch: Any, page_size: int) -> None:
    from sglang.srt.speculative import ngram_info

    drafts = verify_input(batch.seq_lens, DRAFTS)
    drafts.prepare_for_verify(batch, page_size)
    logits = SimpleNamespace(
        next_token_logits=torch.zeros(len(batch.input_ids), VOCAB), hidden_states=None
    )
    pool = batch.token_to_kv_pool_allocator.get_kvcache()
    with (
        patch.object(ngram_info, "verify_tree_greedy", accepts_none, create=True),
        patch.object(pool, "move_kv_cache"),
    ):
        drafts.verify(batch, logits, page_size)


def frozen(batch: Any, page_size: int) -> None:
    from sglang.srt.speculative import eagle_info
    from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPVerifyInput

    chain = verify_input(batch.seq_lens, DRAFTS)
    drafts = FrozenKVMTPVerifyInput.__new__(FrozenKVMTPVerifyInput)
    vars(drafts).update(vars(chain))
    drafts.spec_steps, drafts.topk, drafts.hidden_states = DRAFTS - 1, 1, None
    batch.spec_info = drafts
    drafts.prepare_for_verify(batch, page_size)
    logits = SimpleNamespace(
        next_token_logits=torch.zeros(len(batch.input_ids), VOCAB), hidden_states=None
    )
    with patch.object(eagle_info, "verify_tree_greedy_func", accepts_none):
        drafts.verify(batch, logits, batch.token_to_kv_pool_allocator, page_size)


def play(lab: Any, cache: str, verify: Any, page: int, fixes: tuple[str, ...]) -> dict[str, Any]:
    default = ended(lab, cache, verify, page, fixes, ("default",))
    every = ended(lab, cache, verify, page, fixes, ())  # those that the process began with
    return every | {"alarm by default": default["alarm"]}


def ended(
    lab: Any, cache: str, verify: Any, page: int, fixes: tuple[str, ...], checks: tuple[str, ...]
) -> dict[str, Any]:
    """One request: a prompt, one verification, the end."""
    lab.arm(traps=True, fixes=fixes, directory=DIRECTORY, checks=checks)
    bench = Bench(lab, scenario(cache, page))
    driver = bench.driver
    try:
        driver.tick()
        batch = driver.running
        (req,) = batch.reqs
        # What the lab's stand-ins for a model and a scheduler leave out.
        batch.seq_lens_cpu = batch.seq_lens.clone()
        batch.model_config.think_end_id, req.vocab_size = None, VOCAB
        verify(batch, page)
        allocator = bench.runtime.token_to_kv_pool_allocator
        tokens = len(req.origin_input_ids) + len(req.output_ids) - 1
        row = bench.runtime.req_to_token_pool.req_to_token[req.req_pool_idx]
        slots = row[tokens // page * page : tokens + DRAFTS - 1].to(torch.int64)
        alarm = None
        try:
            with driver._frees_in_a_group():  # as where a step's result is processed
                driver._release(req)
        except TrapError as error:
            alarm = [error.evidence.invariant]
            alarm += [cause.key for cause in explain(read_dump(error.dump)).named]
        mapped = allocator.full_to_swa_index_mapping[slots] > 0
        free = allocator.full_attn_allocator.free_pages
        return {
            "committed": req.kv_committed_len,
            "allocated": req.kv_allocated_len,
            "mapped": int(mapped.sum()),
            "page free": bool((free == int(slots[0]) // page).any()),
            "alarm": alarm,
        }
    finally:
        bench.close()


def scenario(cache: str, page: int) -> Scenario:
    base = find("smoke-plain")
    pages = base.geometry.page_size // page
    geometry = replace(
        base.geometry,
        page_size=page,
        swa_pages=base.geometry.swa_pages * pages,
        full_pages=base.geometry.full_pages * pages,
    )
    return replace(
        base,
        requests=1,
        prompt_tokens=PROMPT,
        output_tokens=8,
        chunk=256,
        draft="none",
        cache=cache,
        geometry=geometry,
    )


if __name__ == "__main__":
    fix = "free-swa-pages"
    lab = start(traps=True, fixes=("auto",), directory=DIRECTORY, checks="all")
    found = {
        f"{verify.__name__} {cache} {page} {'fixed' if fixes else 'released'}": play(
            lab, cache, verify, page, fixes
        )
        for verify in (frozen, ngram)
        for cache in ("swa-radix", "chunk")
        for page in (16, 1)
        for fixes in ((), (fix,))
    }
    sys.stdout.write(json.dumps(found) + "\n")
