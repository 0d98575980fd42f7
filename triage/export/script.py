"""A script for an issue tracker: judges the table anywhere, runs the kernel where there is one."""

from __future__ import annotations

from triage.export.checks import CHECKS
from triage.export.literals import Literals
from triage.export.pytest_file import about

_HEAD = '''\
"""One attention launch that reads what it must not, made from a recorded fault.

    python THIS            judge the recorded table; exit code 1: it is wrong
    python THIS --rebuilt  the same for the table rebuilt from request table and mapping
    python THIS --run      also launch FlashInfer's kernel on this machine's GPU

The keys and values are made up; ids, lengths, window and sizes are the recorded
ones. Written by sglang-triage; judging needs Python alone.
"""

import argparse
import sys
'''

_MAIN = '''\
def judge(table, form):
    faults = list(form_faults(*form))
    for row, column, value in outside_entries(table):
        faults.append(f"block_tables[{row}, {column}] = {value} is outside [1, {NUM_PAGES})")
    for row, column, value, right in foreign_entries(table):
        faults.append(f"block_tables[{row}, {column}] = {value}, the token is on page {right}")
    return faults


def launch(table):
    """The recorded call on this GPU. An illegal access ends the process with an error."""
    import torch
    from flashinfer.decode import trtllm_batch_decode_with_kv_cache

    if len(set(Q_LENS)) != 1:
        sys.exit("ragged queries are not launched by this script")
    width = max(TABLE_WIDTH, 1)
    rows = [(row + [0] * width)[:width] for row in table]
    shape = (NUM_PAGES, NUM_KV_HEADS, PAGE_SIZE, HEAD_DIM)
    gpu = dict(device="cuda", dtype=torch.bfloat16)
    out = trtllm_batch_decode_with_kv_cache(
        query=torch.randn(sum(Q_LENS), NUM_Q_HEADS, HEAD_DIM, **gpu),
        kv_cache=(torch.randn(shape, **gpu), torch.randn(shape, **gpu)),
        workspace_buffer=torch.zeros(512 << 20, dtype=torch.uint8, device="cuda"),
        block_tables=torch.tensor(rows, dtype=torch.int32, device="cuda"),
        seq_lens=torch.tensor(CACHE_SEQLENS, dtype=torch.int32, device="cuda"),
        max_seq_len=MAX_SEQ_LEN,
        bmm1_scale=HEAD_DIM**-0.5,
        bmm2_scale=1.0,
        window_left=WINDOW_LEFT,
        q_len_per_req=Q_LENS[0],
        kv_layout="HND",
    )
    torch.cuda.synchronize()
    print(f"the kernel returned; finite output: {bool(torch.isfinite(out).all())}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rebuilt", action="store_true")
    parser.add_argument("--run", action="store_true")
    arguments = parser.parse_args()
    table, form = PAGE_TABLE, (TABLE_DTYPE, TABLE_STRIDE, TABLE_WIDTH)
    if arguments.rebuilt:
        width = max(TABLE_WIDTH, -(-max(CACHE_SEQLENS) // PAGE_SIZE))
        table, form = rebuilt_table(), ("int32", [width, 1], width)
    faults = judge(table, form)
    print("\\n".join(faults) or "every visible entry is the right page of the cache")
    if arguments.run:
        launch(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
'''


def script_file(case: Literals) -> str:
    return "\n".join([_HEAD, about(case), case.assignments(), "\n", CHECKS, "", _MAIN])
