"""A batch of four, then one of three, through a graph captured for four; prints JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from triage.invariants.graph import check_padded_tokens, check_padding
from triage.invariants.reads import IndexSpace
from triage.lab.graph import PaddedGraph
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find


def main(directory: Path) -> None:
    process = start(traps=False, fixes=(), directory=directory)
    scenario = replace(find("smoke"), draft="none", requests=4, prompt_tokens=48)
    bench = Bench(process, scenario)
    driver = bench.driver
    graph = PaddedGraph(bench.runtime, 4)
    seen = []
    built = driver.forwards._launch

    def launch(role, forward_batch, *rest):
        built(role, forward_batch, *rest)
        if forward_batch.forward_mode.is_decode():
            seen.append(graph.replay(forward_batch))

    driver.forwards._launch = launch
    driver._admit()
    driver._decode_step()
    driver._finish(driver.running[1])
    driver._decode_step()
    full, padded = seen
    space = IndexSpace("full", 16, scenario.geometry.full_pages + 1)
    findings = check_padding(
        padded.metadata.page_table,
        padded.metadata.cache_seqlens_int32,
        space,
        num_real_rows=padded.real_rows,
        req_pool_indices=padded.inputs["req_pool_indices"],
        padded_length=padded.padded_length,
    )
    tokens = check_padded_tokens(
        num_real_tokens=padded.real_tokens,
        out_cache_loc=padded.inputs["out_cache_loc"],
        swa_loc=getattr(padded.metadata, "swa_out_cache_loc", None),
    )
    answer = {
        "rows": [full.real_rows, padded.real_rows, padded.rows],
        "requests": padded.inputs["req_pool_indices"].tolist(),
        "slots": padded.inputs["out_cache_loc"].tolist(),
        "lengths": padded.metadata.cache_seqlens_int32.tolist(),
        "expected": [r.length for r in driver.running],
        "violations": [f"{v.invariant} {v.tensor}" for v in findings.violations()],
        "tokens": [v.tensor for v in tokens.violations()],
    }
    bench.close()
    print(json.dumps(answer))


main(Path(sys.argv[1]))
