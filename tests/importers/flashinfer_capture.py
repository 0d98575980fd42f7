"""Write what a FlashInfer release leaves of a call that does not return.

    FLASHINFER_LOGLEVEL=10 FLASHINFER_DUMP_DIR=calls FLASHINFER_DUMP_SAFETENSORS=1 \
        python -m tests.importers.flashinfer_capture

The directories in `flashinfer/` were made so, one by each release they are named
after, and renamed. The call ends at FlashInfer's check for a CUDA device, by
which time its inputs are written.
"""

from __future__ import annotations

import importlib
from dataclasses import replace

import torch

from tests import dumps_fixture as dumps

SIZES = replace(dumps.SMALL, head_dim=1)


def main() -> None:
    decode = importlib.import_module("flashinfer.decode")
    dump = dumps.make_dump(SIZES)
    launch, tables = dump.launch, dump.tables
    nhd = (launch.num_pages, launch.page_size, launch.num_kv_heads, launch.head_dim)
    keys, values = (torch.zeros(nhd, dtype=torch.bfloat16).permute(0, 2, 1, 3) for _ in "kv")
    try:
        decode.trtllm_batch_decode_with_kv_cache(
            query=torch.zeros(4, launch.num_q_heads, launch.head_dim, dtype=torch.bfloat16),
            kv_cache=(keys, values),
            workspace_buffer=torch.zeros(16, dtype=torch.uint8),
            block_tables=torch.from_numpy(tables.page_table.padded().astype("int32")),
            seq_lens=torch.from_numpy(tables.cache_seqlens),
            max_seq_len=launch.max_seq_len,
            bmm1_scale=0.25,
            bmm2_scale=1.0,
            window_left=launch.window_left,
            sinks=None,
            out_dtype=torch.bfloat16,
            q_len_per_req=1,
        )
    except ValueError as error:
        print(f"the inputs are written; the call ended with: {error}")


if __name__ == "__main__":
    main()
