"""SGLang's own plugin loader with folders of the lab on the path; prints JSON.

Then the smallest run of the CPU lab's pools and backends, so that what waits for the first
SWAKVPool binds, and one table of two rows is filled by SGLang's own entry.
"""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import entry_points
from pathlib import Path


def main(control: Path) -> None:
    from triage.lab import bootstrap
    from triage.lab.flashinfer_stub import StandInFlashInfer

    bootstrap.prepare()
    StandInFlashInfer(lambda call: None).install()
    logging.disable(logging.INFO)
    from sglang.srt.plugins import load_plugins

    names = [point.name for point in entry_points(group="sglang.srt.plugins")]
    load_plugins()

    from triage.lab.runtime import Runtime
    from triage.lab.scenarios import find
    from triage.lab.server.late import moments
    from triage.sglang.fixes.state_swap import StateSwap
    from triage.sglang.install import state

    bound_before = moments()._bound
    runtime = Runtime(find("smoke").geometry, draft_tokens=4, draft_steps=3, draft="frozen")
    installed = state()
    print(
        json.dumps(
            {
                "names": names,
                "probe": StateSwap.probe().need.name,
                "triage": bool(installed and installed.active),
                "bound": [bound_before, moments()._bound],
                "observers": [type(each).__name__ for each in moments().observers],
                "newest": filled(runtime, control),
            }
        )
    )


def filled(runtime, control: Path) -> list[list[int]]:
    """The newest SWA page of two rows, before and after the control file appears."""
    import torch

    from triage.lab.server.late import moments

    backend = runtime.target_backend
    runtime.req_to_token_pool.req_to_token[1, :64] = torch.arange(64, 128)
    runtime.req_to_token_pool.req_to_token[2, :64] = torch.arange(192, 256)
    mapping = runtime.token_to_kv_pool_allocator.full_to_swa_index_mapping
    mapping[64:128], mapping[192:256] = torch.arange(16, 80), torch.arange(80, 144)
    seen = []
    for touched in (False, True):
        if touched:
            control.touch()
        moments().begin([])
        metadata = type("M", (), {})()
        metadata.page_table = torch.zeros(2, 16, dtype=torch.int32)
        metadata.swa_page_table = torch.zeros(2, 16, dtype=torch.int32)
        lengths = torch.tensor([33, 64], dtype=torch.int32)
        backend._fill_page_table_device(metadata, torch.tensor([1, 2]), lengths)
        seen.append([int(metadata.swa_page_table[0, 2]), int(metadata.swa_page_table[1, 3])])
    return seen


if __name__ == "__main__":
    main(Path(sys.argv[1]))
