"""Texts as people paste them, made here: each kind of tool, with values of our own."""

# ruff: noqa: E501  (a line of a tool is as long as the tool makes it)

from __future__ import annotations

FMHA = "fmhaSm103aKernel_QkvE4m3OBfloat16H128PagedKvCausalP32VarSeqQ8Kv128PersistentSwapsAbForGen"

SANITIZER = f"""\
========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 32 bytes
=========     at {FMHA}+0x1d40
=========     by thread (33,0,0) in block (2,1,0)
=========     Access to 0x7e5500a01c40 is out of bounds
=========     and is 7,233 bytes after the nearest allocation at 0x7e5500000000 of size 10,485,760 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: cuLaunchKernelEx [0x2c4410] in libcuda.so.1
=========
========= ERROR SUMMARY: 1 error
"""

SANITIZER_TRITON = """\
========= Invalid __global__ read of size 8 bytes
=========     at _fwd_kernel+0x820 in extend_attention.py:402
=========     by thread (5,0,0) in block (9,4,0)
=========     Address 0x7e5500a01c40 is out of bounds
"""

SANITIZER_OLDER_TRITON = """\
========= Invalid __global__ atomic of size 4 bytes
=========     at 0x3c0 in /opt/venv/sglang/srt/layers/moe/fused_moe_triton_kernels.py:310:fused_moe_kernel
=========     by thread (64,0,0) in block (7,0,0)
=========     Address 0x7e5500a01c40 is out of bounds
"""

SANITIZER_STORE = """\
========= Invalid __global__ write of size 16 bytes
=========     at void reshape_and_cache_flash_kernel<__nv_bfloat16, unsigned char>(const __nv_bfloat16 *)+0x2a0
=========     by thread (12,0,0) in block (30,0,0)
=========     Access to 0x7e5500a01c40 is out of bounds
"""

SANITIZER_HARDWARE = """\
========= COMPUTE-SANITIZER
========= Warp illegal address
=========     at nvjet_tst_192x192_64x4_2x1_v_bz_TNN+0x88c0
=========     by thread (0,0,0) in block (11,2,0)
"""

SANITIZER_MISALIGNED = """\
========= Invalid __global__ read of size 16 bytes
=========     at kernel_mha+0x4f0
=========     by thread (1,0,0) in block (0,0,3)
=========     Address 0x7e5500a01c44 is misaligned
"""

SANITIZER_NEW_KIND = """\
========= Cluster barrier divergence detected
=========     at some_new_kernel+0x10
"""

GDB_LIVE = f"""\
CUDA Exception: Lane Illegal Address

Thread 88 "sglang::schedul" received signal CUDA_EXCEPTION_1, Lane Illegal Address.
[Switching focus to CUDA kernel 3, grid 51, block (2,0,0), thread (64,0,0), device 1, sm 4]
0x00007f11aa0431f0 in {FMHA}<<<(132,1,1),(384,1,1)>>> ()
"""

CORE = """\
Opening GPU coredump: core_host7_4021
[Current focus set to CUDA kernel 0, grid 77120, block (4,0,0), thread (32,0,0), device 0, sm 12]

CUDA Exception: Warp Misaligned Address
The exception was triggered at PC 0x7fa1c0de4b30  void flashinfer::activation::act_and_mul_kernel<__nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16 const*, int)
#0  0x00007fa1c0de4a00 in void flashinfer::activation::act_and_mul_kernel<__nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16 const*, int)<<<(64,1,1),(1024,1,1)>>> ()
"""

CORE_STORE = """\
CUDA Exception: Device Unknown Exception
#0  set_kv_buffer_kernel<<<(9,1,1),(128,1,1)>>>
    at mem_cache/memory_pool.cu:88
Faulting instruction STG.E.64 desc[UR4][R10.64], store address 0x7e5500a01c40 (unmapped)
"""

XID_13 = """\
[ 9911.000120] NVRM: Xid (PCI:0000:c1:00): 13, Graphics SM Warp Exception on (GPC 0, TPC 3, SM 0): Out Of Range Address
[ 9911.000131] NVRM: Xid (PCI:0000:c1:00): 13, Graphics Exception: ESR 0x504730=0x12000e
"""

XID_31 = (
    "Nov 03 10:00:01 gpu-4 kernel: NVRM: Xid (PCI:0000:c1:00): 31, pid=771, name=python3, "
    "Ch 0000001a, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC2 GPCCLIENT_T1_3 faulted @ "
    "0x7e55_00a01000. Fault is of type FAULT_PTE ACCESS_TYPE_VIRT_{kind}\n"
)

XID_79 = "[12.5000] NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', GPU has fallen off the bus.\n"

LEAK = """\
[2026-11-03 10:00:01 DP1 TP3] Scheduler hit an exception: Traceback (most recent call last):
  File "/opt/venv/sglang/srt/managers/scheduler.py", line 4, in run_scheduler_process
    scheduler.event_loop_normal()
  File "/opt/venv/sglang/srt/managers/scheduler_runtime_checker_mixin.py", line 9, in _report_leak
    raise_error_or_warn(self, True, "count", msg)
ValueError: pool memory leak detected! [full] total=40960, available=30720, evictable=9984, protected=0, session_held=0, uncached=0
[swa] total=8192, available=8192, evictable=0, protected=0, session_held=0, uncached=0
"""

LEAK_BUSY = (
    "AssertionError: Full Pool Mem Leak Detected! [full] total=4096, available=1024, "
    "evictable=2048, protected=1024, session_held=0, uncached=16\n"
)

LEAK_ROWS = (
    "[2026-11-03 10:00:01 TP0] req_to_token_pool memory leak detected!available_size=254, "
    "session_held=0, total_size=256\n"
)

PAGE_USED_AFTER_FREE = (
    "[2026-11-03 10:00:01 TP2] KV page use-after-free: 3 owner page refs are in the free pool, "
    "sample pages=[17, 40].\n"
)

ASYNC = """\
[2026-11-03 10:00:01 TP1] Scheduler hit an exception: Traceback (most recent call last):
  File "/opt/venv/sglang/srt/managers/scheduler.py", line 40, in run_scheduler_process
    scheduler.run_event_loop()
  File "/opt/venv/sglang/srt/managers/overlap_utils.py", line 18, in resolve
    event.synchronize()
torch.AcceleratorError: CUDA error: an illegal memory access was encountered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
"""

AT_THE_CALL = """\
CUDA Error: CUDA_ERROR_ILLEGAL_ADDRESS /opt/venv/flashinfer/data/include/flashinfer/trtllm/fmha/fmhaKernels.cuh 301
[2026-11-03 10:00:02 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "/opt/venv/sglang/srt/layers/attention/trtllm_mha_backend.py", line 7, in forward_extend
    o = flashinfer.prefill.trtllm_batch_context_with_kv_cache(
  File "/opt/venv/flashinfer/prefill.py", line 9, in trtllm_batch_context_with_kv_cache
    run_func(
RuntimeError: CUDA error: an illegal memory access was encountered
"""

FA3 = (
    "CUDA error (/build/flash-attention/hopper/flash_fwd_launch_template.h:166): misaligned "
    "address\n"
)

DEVICE_ASSERT = (
    "/pytorch/aten/src/ATen/native/cuda/Indexing.cu:1553: indexSelectLargeIndex: block: "
    "[{block},0,0], thread: [{thread},0,0] Assertion `srcIndex < srcSelectDimSize` failed.\n"
)

TREE = """\
[2026-11-03 10:00:03 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "/opt/venv/sglang/srt/managers/scheduler.py", line 40, in run_scheduler_process
    scheduler.run_event_loop()
  File "/opt/venv/sglang/srt/mem_cache/swa_radix_cache.py", line 1360, in _delete_leaf
    assert v == node, f"parent does not have child key, {key}"
AssertionError: parent does not have child key, 17
"""

CANARY = (
    "kv_canary violation: launch_tag=HEAD_V_{pool} fail_reason=verify_position slot_idx={slot} "
    "position=71 stored_token=5 expected_token=6 stored_chain_hash=0x01 expected_aux=0x02\n"
)

FLASHINFER = """\
================================================================================
[2026-11-03 10:00:04] FlashInfer API Call: {name}
--------------------------------------------------------------------------------
Keyword input arguments:
  block_tables=
    Tensor(
      shape=(8, 40)
      stride=(40, 1)
      dtype=torch.int32
      device=cuda:0
      requires_grad=False
      is_contiguous=True
      min=0
      max=611
    )
  window_left=
    127
"""

TMA = """\
TMA Desc Addr:   0x7ffc00112240
format         6
dim            4
gmem_address   0x7e5500000000
globalDim      (256,32,4,900,1)
globalStrides  (2,512,16384,65536,0)
boxDim         (64,32,1,1,1)
Error: Failed to initialize the TMA descriptor {code}
"""

STOPPED = """\
[2026-11-03 10:00:20] SIGTERM received. signum=None frame=None. Draining requests and shutting down...
[2026-11-03 10:00:20] Subprocess scheduler_0 (pid=720) crashed with exit code -15. Triggering SIGQUIT for cleanup...
[2026-11-03 10:00:20] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
[2026-11-03 10:00:20] Sleeping 5 seconds before crash diagnostics to let GPU activity settle.
"""

ABORTED = """\
[rank0]:[W1103 10:00:20.081473901 CUDAEvent.h:57] Warning: CUDA warning: {words} (function ~CUDAEvent)
terminate called after throwing an instance of 'c10::AcceleratorError'
  what():  CUDA error: {words}
Search for `{name}' in https://docs.nvidia.com/cuda/cuda-runtime-api for more information.
CUDA kernel errors might be asynchronously reported at some other API call.

Fatal Python error: Aborted

Current thread 0x00007fa72191b140 (most recent call first):
  File "/srv/sglang/srt/managers/scheduler.py", line 1570 in event_loop_overlap

[2026-11-03 10:00:21] Subprocess scheduler_0 (pid=2099) crashed with exit code -6. Triggering SIGQUIT for cleanup...
[2026-11-03 10:00:21] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
"""

PLUGIN = """\
Failed to execute general plugin: a_plugin
Traceback (most recent call last):
  File "/srv/sglang/srt/plugins/__init__.py", line 133, in load_plugins
    func()
  File "/srv/a_plugin/plugin.py", line 12, in <module>
    import cuda.tile as ct
ModuleNotFoundError: No module named 'cuda.tile'
[2026-11-03 10:00:09] The server is fired up and ready to roll!
"""

OURS = """\
[2026-11-03 10:00:20] Scheduler hit an exception: Traceback (most recent call last):
  File "/srv/triage/sglang/scheduler/steps.py", line 208, in _fire
    raise self._failure(error, evidence, report)
triage.errors.WrongIndexSpace: I2: a live page-table entry is not the page that req_to_token names
  block_tables[0, 17] = 127, expected 56 of request 8
  and 1 more in 2 rows
the output of this step is invalid and was not released
dump: /var/dumps/WrongIndexSpace-swa.msgpack
next: triage explain /var/dumps/WrongIndexSpace-swa.msgpack

[2026-11-03 10:00:20] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
"""

PEERS = """\
[rank3]:[E1103 10:00:20.000000001 ProcessGroupNCCL.cpp:632] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)
[2026-11-03 10:00:21] Rank 1 scheduler died, exit code -6
[2026-11-03 10:00:22 TP2] Received sigquit from a child process. It usually means the child failed.
"""
