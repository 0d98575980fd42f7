"""Faults as they stand in threads of SGLang, FlashInfer, vLLM and PyTorch; values of our own.

Each form was first seen in a thread and then made here. `test_threads.py` says what is right.
"""

# ruff: noqa: E501  (a line of a tool is as long as the tool makes it)

from __future__ import annotations

from triage.dump.observation import Failure, Form

_LATE = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\n"
)

VLLM = "".join(
    f"(Worker_TP1 pid=8123) ERROR 11-05 04:00:01 [multiproc_executor.py:991] {line}\n"
    for line in (
        "Traceback (most recent call last):",
        '  File "/srv/venv/lib/python3.12/site-packages/vllm/v1/attention/backends/flashinfer.py", line 88, in forward',
        "    trtllm_batch_decode_with_kv_cache(",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        _LATE.rstrip(),
    )
)

RAY_WORKERS = "".join(
    f"(WorkerDict pid={pid}) {line}\n"
    for pid in (7001, 7002)
    for line in (
        '  File "/srv/sglang/srt/managers/schedule_batch.py", line 12, in get_model_worker_batch',
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        _LATE.rstrip(),
    )
)

_RANK = (
    "[2026-11-05 04:00:07 {rank}] Scheduler hit an exception: Traceback (most recent call last):",
    '  File "/srv/sglang/srt/managers/scheduler.py", line 40, in run_scheduler_process',
    "    scheduler.run_event_loop()",
    "RuntimeError: CUDA error: an illegal memory access was encountered",
)

RANKS_WITH_FINER_STAMPS = "".join(
    f"2026-11-05T04:00:{second}{index}00+00:00 stdout F {line.format(rank=rank)}\n"
    for rank, second in (("TP3", "07.90"), ("TP1", "07.20"))
    for index, line in enumerate(_RANK)
)
"""The rank that stands first in the file is the later one by the container runtime's clock."""

TENSOR_MAP = (
    "[2026-11-05 04:00:01 DP0 TP2] Scheduler hit an exception: Traceback (most recent call last):\n"
    '  File "/srv/venv/site-packages/deep_gemm/jit_kernels/tuner.py", line 4, in compile_and_tune\n'
    "Exception: Failed to encode tensor map: {code}\n"
)

XID_LIST = """\
11-03 01:00:00 Xid 31 GPC0 GPCCLIENT_T1_2  @ 0x7e55_00a01000  FAULT_PDE ACCESS_TYPE_VIRT_READ
11-04 02:00:00 Xid 31 GPC5 GPCCLIENT_T1_0  @ 0x7e55_00b02000  FAULT_PDE ACCESS_TYPE_VIRT_WRITE
"""

CORE_IN_PROSE = """\
The dump names TP5 as the first rank:

`CUDA Exception: Warp Illegal Address`

Faulting kernel:

`bmm_E2m1_E2m1E2m1_Fp32_t64x8x512_s4_et64x8_swiGlu_dynB_sm100f`

Launch geometry: `<<<(8,2,1),(256,1,1)>>>`

The actual `$errorpc` is inside `LoadTaskB` at:

`LDG.E R7, desc[UR8][R20.64]`
"""

LEAK_OF_STATES = """\
[2026-11-05 04:00:01 TP1] Scheduler hit an exception: Traceback (most recent call last):
  File "/srv/sglang/srt/utils/common.py", line 30, in raise_error_or_warn
    raise ValueError(message)
ValueError: token_to_kv_pool_allocator memory leak detected! full_available_size=1000, full_evictable_size=3000, self.token_to_kv_pool_allocator.size=4000, self.tree_cache.full_protected_size()=0
mamba_available_size=60, mamba_evictable_size=38, self.req_to_token_pool.mamba_pool.size=100, self.tree_cache.mamba_protected_size()=0, leaked_full_pages=None, leaked_mamba_pages={41, 77}
"""

LEAK_OF_STATES_NEWER = (
    "ValueError: pool memory leak detected! [mamba] total=100, available=60, evictable=38, "
    "protected=0, session_held=0, uncached=0, leaked_full_pages=None, leaked_mamba_pages={41, 77}\n"
)

LEAK_BY_LAYER = (
    "ValueError: token_to_kv_pool_allocator memory leak detected! "
    "self.full_tokens_per_layer=4096, full_available_size=4000, full_evictable_size=64, "
    "self.tree_cache.full_protected_size()=0\n"
    "self.swa_tokens_per_layer=1024, swa_available_size=1024, swa_evictable_size=0, "
    "self.tree_cache.swa_protected_size()=0\n"
)

COMPILED_ASSERT = (
    "unknown:0: unknown: block: [0,0,0], thread: [{thread},0,0] Assertion "
    "`index out of bounds: 0 <= tmp9 < 262144` failed.\n"
)

SYNCCHECK = """\
========= Barrier error detected. Missing wait.
=========     at void flashinfer::PrefillWithKVCacheKernel<flashinfer::Traits<true, 128>>(T1::Params)+0x1f0
=========     by thread (128,0,0) in block (3,0,0)
========= ERROR SUMMARY: 1 error
"""

ACROSS_THE_END = """\
========= Invalid __global__ write of size 512 bytes
=========     at copy_rows(unsigned char *, int)+0x120
=========     by thread (0,0,0) in block (0,0,0)
=========     Access to 0x7e55009fff00 is out of bounds
=========     and is inside the nearest allocation at 0x7e5500000000 of size 10485760 bytes
"""

POOL_FULL = (
    "[2026-11-05 04:00:01 TP0] Scheduler hit an exception: Traceback (most recent call last):\n"
    '  File "/srv/sglang/srt/mem_cache/allocation.py", line 500, in alloc_for_decode\n'
    "    raise RuntimeError(error_msg)\n"
    "RuntimeError: {words}\n"
)

NO_KERNEL = (
    "RuntimeError: Error in function 'run' at /srv/flashinfer/trtllm/fmha/fmhaKernels.cuh:77: "
    "Missing TRTLLM-GEN kernel (decode): qkvLayout=2, maskType=1, headDimQk=512, headDimV=512, "
    "numTokensPerPage=64\n"
)

TOO_MUCH_SHARED_MEMORY = (
    "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 300000, "
    "Hardware limit: 232448. Reducing block sizes or `num_stages` may help.\n"
)

TRAPPED_ON_ONE_LINE = (
    "[2026-11-05 04:00:01 TP0] Scheduler hit an exception: Traceback (most recent call last):\n"
    '  File "/srv/triage/sglang/launch/host_check.py", line 9, in check\n'
    "    raise error\n"
    "triage.errors.StaleSWAState: I2: block_tables[3, 7] = 471; dump: /var/dumps/a.msgpack\n"
)

ALONE: dict[str, tuple[str, Form, Failure]] = {
    "vLLM": (VLLM, Form.EXCEPTION, Failure.ILLEGAL_ADDRESS),
    "workers of Ray": (RAY_WORKERS, Form.CUDA_ERROR, Failure.ILLEGAL_ADDRESS),
    "ranks with finer stamps": (RANKS_WITH_FINER_STAMPS, Form.EXCEPTION, Failure.ILLEGAL_ADDRESS),
    "a tensor map, 700": (TENSOR_MAP.format(code=700), Form.TMA, Failure.ILLEGAL_ADDRESS),
    "a tensor map, 1": (TENSOR_MAP.format(code=1), Form.TMA, Failure.DESCRIPTOR),
    "a list of Xids": (XID_LIST, Form.DRIVER, Failure.ILLEGAL_ADDRESS),
    "a core dump in prose": (CORE_IN_PROSE, Form.DEBUGGER, Failure.ILLEGAL_ADDRESS),
    "states of a Mamba pool": (LEAK_OF_STATES, Form.LEAK, Failure.LEAK),
    "states, newer": (LEAK_OF_STATES_NEWER, Form.LEAK, Failure.LEAK),
    "sums by layer": (LEAK_BY_LAYER, Form.LEAK, Failure.LEAK),
    "a compiled kernel's assert": (
        COMPILED_ASSERT.format(thread=3),
        Form.DEVICE_ASSERT,
        Failure.ASSERT,
    ),
    "synccheck": (SYNCCHECK, Form.SANITIZER, Failure.BARRIER),
    "across an allocation's end": (ACROSS_THE_END, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "no page left": (
        POOL_FULL.format(words="KV cache is full!"),
        Form.EXCEPTION,
        Failure.POOL_FULL,
    ),
    "no kernel": (NO_KERNEL, Form.CUDA_ERROR, Failure.REFUSED),
    "too much shared memory": (TOO_MUCH_SHARED_MEMORY, Form.CUDA_ERROR, Failure.REFUSED),
    "a trap of ours": (TRAPPED_ON_ONE_LINE, Form.TRAP, Failure.TRAPPED),
}
