"""Writes to pools of one kind: SGLang's real pools and backends, in a process with the traps armed.

python -m tests.sglang.plain_writes_child DIRECTORY [MODE]

Each story is played sound, and with one slot past the pool: told before the write, or not.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402

from triage.dump.file import read_dump  # noqa: E402
from triage.errors import TrapError  # noqa: E402
from triage.lab.geometry import Geometry  # noqa: E402
from triage.lab.plain_pools import PlainRuntime  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.runtime import Runtime  # noqa: E402
from triage.sglang.launch.plain_writes import FUSED, FUSED_MODULE  # noqa: E402

GEOMETRY = Geometry(16, 20, 24, 32, 3, 3, 0, 128, 4)
PAGE = GEOMETRY.page_size
SOUND = torch.arange(PAGE, PAGE + 4)
PADDED = torch.tensor([PAGE, PAGE + 1, 0, 0])


def past(pool: Any) -> torch.Tensor:
    """The last slot of the pool, and the first behind it: a buffer has `size + page_size` rows."""
    return torch.tensor([pool.size + PAGE - 1, pool.size + PAGE])


def told(write: Any, loc: torch.Tensor) -> str:
    """The trap's sentence; "wrote" where the write went through, "stored: ..." where it broke."""
    try:
        write(loc)
    except TrapError as error:
        return f"{error} | pool {read_dump(Path(error.dump)).fault.pool}"
    except Exception as error:  # SGLang's own, at the store itself
        return f"stored: {type(error).__name__}"
    return "wrote"


def to_pool(pool: Any, dtype: torch.dtype = torch.float16) -> Any:
    layer = SimpleNamespace(layer_id=0)

    def write(loc: torch.Tensor) -> None:
        rows = torch.ones(len(loc), GEOMETRY.num_heads, GEOMETRY.head_dim, dtype=dtype)
        pool.set_kv_buffer(layer, loc, rows, rows.clone())

    return write


def played(write: Any, pool: Any) -> dict[str, str]:
    return {
        "sound": told(write, SOUND),
        "padded": told(write, PADDED),
        "past": told(write, past(pool)),
    }


@contextmanager
def a_model_is_loaded(batch: Any) -> Any:
    """SGLang's `create_fused_set_kv_buffer_arg`; below it the pool and what the kernel is given."""
    from sglang.srt.models import utils

    if not hasattr(utils, "get_token_to_kv_pool"):
        yield utils
        return
    kept, pool = utils.get_token_to_kv_pool, batch.token_to_kv_pool
    utils.get_token_to_kv_pool = lambda: pool
    del batch.token_to_kv_pool
    try:
        yield utils
    finally:
        utils.get_token_to_kv_pool = kept


def fused(pool: Any) -> dict[str, str]:
    """What a model whose RoPE kernel stores takes from SGLang, before the kernel runs."""
    batch = SimpleNamespace(token_to_kv_pool=pool, out_cache_loc=SOUND)
    layer = SimpleNamespace(layer_id=0, k_scale=None, v_scale=None)
    with a_model_is_loaded(batch) as utils:

        def hand_over(loc: torch.Tensor) -> None:
            batch.out_cache_loc = loc
            utils.create_fused_set_kv_buffer_arg(torch.ones(len(loc), 4), layer, batch)

        return played(hand_over, pool)


def main(directory: Path, mode: str) -> None:
    process = start(traps=True, fixes=(), directory=directory, mode=mode)
    installed, found = process.installed, {}
    __import__(FUSED_MODULE)  # as a model does, before its attention backend is built
    for backend in ("trtllm_mha", "triton", "fa3", "flashinfer"):
        runtime = PlainRuntime(GEOMETRY, "mha", backend)
        pool = runtime.token_to_kv_pool
        found[backend] = played(to_pool(pool), pool)
        scheduler = SimpleNamespace(
            token_to_kv_pool_allocator=runtime.token_to_kv_pool_allocator, draft_worker=None
        )
        installed.scheduling.say_what_is_uncovered(scheduler)
        found[backend]["not covered"] = ", ".join(process.traps.reporter.not_seen)
        if backend == "trtllm_mha":
            found["fused"] = fused(pool)
        runtime.close()
    runtime = PlainRuntime(GEOMETRY, "mha", "trtllm_mha", dtype=torch.float8_e4m3fn)
    pool = runtime.token_to_kv_pool
    found["fp8"] = played(to_pool(pool), pool)
    runtime.close()
    runtime = Runtime(GEOMETRY, draft_tokens=4, draft_steps=3, draft="eagle")
    found["draft"] = played(to_pool(runtime.draft_pool), runtime.draft_pool)
    found["hybrid is hooked at its class alone"] = "set_kv_buffer" not in vars(
        runtime.token_to_kv_pool.full_kv_pool
    )
    runtime.close()
    found["writes"] = process.traps.counts["writes"]
    found["not looked at"] = process.traps.counts["writes not covered"]
    # WHEN everything is taken out again
    wrapped = getattr(sys.modules[FUSED_MODULE], FUSED)
    installed.remove()
    found["removed"] = [
        "set_kv_buffer" not in vars(pool),
        getattr(sys.modules[FUSED_MODULE], FUSED) is wrapped.__wrapped__,
        told(to_pool(pool), SOUND) == "wrote",
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "raise")
