"""Faults as they come out of clusters, editors and chats: whole, cut, mixed, and not ours.

Every value is of our own making. `REPORT` is one report of compute-sanitizer in an attention
kernel; `FORMS` puts around it what other programs put around lines, `CUT` leaves parts of it
out, `OTHERS` are faults that no page table leads to.
"""

# ruff: noqa: E501  (a line of a tool is as long as the tool makes it)

from __future__ import annotations

import json
from collections.abc import Callable

from triage.dump.observation import Failure, Form

FMHA = "fmhaSm100aKernel_QkvBfloat16OBfloat16H256PagedKvSlidingOrChunkedCausalP64VarSeqQ8Kv128"
MARLIN = "void marlin::Marlin<__nv_bfloat16, (long)1125899906909960, 256, 1, 8, 8, false, 4>(const int4 *, const int4 *)"
ADDRESS, OTHER_ADDRESS = 0x7B2C40A01C40, 0x7A1100220000


def report(kernel: str = FMHA, address: int = ADDRESS) -> str:
    return f"""\
========= Invalid __global__ read of size 16 bytes
=========     at {kernel}+0x3b60
=========     by thread (96,0,0) in block (17,0,0)
=========     Access to {address:#x} is out of bounds
=========     and is 7,233 bytes after the nearest allocation at 0x7b2c40000000 of size 10,485,760 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: cuLaunchKernelEx [0x2c4410] in libcuda.so.1
"""


def _each(before: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{before}{line}\n" for line in text.splitlines())


def _numbered(form: str, start: int) -> Callable[[str], str]:
    return lambda text: "".join(
        form.format(number) + f"{line}\n" for number, line in enumerate(text.splitlines(), start)
    )


FORMS: dict[str, Callable[[str], str]] = {
    "grep -n over files": _numbered("logs/server.err:{}:", 412),
    "grep -n": _numbered("{}:", 98),
    "cat -n": _numbered("{:6d}\t", 1),
    "bat": _numbered("{:4d} │ ", 7),
    "a diff": _each("+"),
    "journald": _each("Nov 04 02:11:09 gpu-7 sglang[771]: "),
    "kubectl with prefix and time": _each(
        "[pod/sglang-decode-0/sglang] 2026-11-04T02:11:09.123456Z "
    ),
    "Ray, coloured": _each("\x1b[36m(SchedulerActor pid=90311, ip=10.0.0.7)\x1b[0m "),
    "an issue's fence": lambda text: (
        f"### Logs\n<details><summary>log</summary>\n\n```shell\n{text}```\n</details>\n"
    ),
    "quoted twice": _each("> > "),
    "mpirun": _each("[1,3]<stderr>:"),
    "a logger's JSON": lambda text: "".join(
        json.dumps({"ts": "2026-11-04T02:11:09Z", "level": "error", "message": line}) + "\n"
        for line in text.splitlines()
    ),
    "spaces of a web page": lambda text: text.replace(" ", "\u00a0"),
    "byte order mark, CRLF": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "a progress bar before": lambda text: f"Loading:  40%\rLoading: 100%\n{text}",
}

_LINES = report().splitlines(keepends=True)

CUT: dict[str, tuple[str, bool, bool]] = {
    # text, is the kernel told, is the address
    "the first lines": ("".join(_LINES[2:]), False, True),
    "all but the first line": (_LINES[0], False, False),
    "inside the address": (report()[: report().index(f"{ADDRESS:#x}") + 6], True, False),
    "the middle": (
        _LINES[0] + "[... 200 lines truncated ...]\n" + "".join(_LINES[3:5]),
        False,
        False,
    ),
}

MIXED = {
    "line by line": "".join(
        one + two
        for one, two in zip(
            _LINES, report(MARLIN, OTHER_ADDRESS).splitlines(keepends=True), strict=True
        )
    ),
    "the other's end first": "".join(
        [*_LINES[:3], *report(MARLIN, OTHER_ADDRESS).splitlines(keepends=True)[:3], *_LINES[3:5]]
    ),
}

TRACEBACK = """\
[2026-11-04 02:11:09 TP2] Scheduler hit an exception: Traceback (most recent call last):
  File "/srv/sglang/srt/managers/scheduler.py", line 3211, in run_scheduler_process
    scheduler.run_event_loop()
  File "/srv/sglang/srt/managers/scheduler.py", line 1402, in event_loop_overlap
    self.process_batch_result(tmp_batch, tmp_result)
{error}
"""

OTHERS: dict[str, tuple[str, Form, Failure]] = {
    "another kernel's": (report(MARLIN), Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "DeepGEMM, as the host heard": (
        "RuntimeError: CUDA driver error (/x/deep_gemm/csrc/jit/handle.hpp:173): 700 (CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered)\n",
        Form.CUDA_ERROR,
        Failure.ILLEGAL_ADDRESS,
    ),
    "NCCL, as the host heard": (
        "gpu-7:771:1190 [3] misc/strongstream.cc:395 NCCL WARN Cuda failure 700 'an illegal memory access was encountered'\n",
        Form.CUDA_ERROR,
        Failure.ILLEGAL_ADDRESS,
    ),
    "cuBLAS": (
        TRACEBACK.format(
            error="RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa)`"
        ),
        Form.EXCEPTION,
        Failure.LAUNCH_FAILED,
    ),
    "out of memory": (
        TRACEBACK.format(
            error="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
        ),
        Form.EXCEPTION,
        Failure.OUT_OF_MEMORY,
    ),
    "sampling's assert": (
        "/pytorch/aten/src/ATen/native/cuda/TensorCompare.cu:112: _assert_async_cuda_kernel: block: [0,0,0], thread: [0,0,0] Assertion `probability tensor contains either `inf`, `nan` or element < 0` failed.\n",
        Form.DEVICE_ASSERT,
        Failure.ASSERT,
    ),
    "Xid 13, units only": (
        "[88811.123456] NVRM: Xid (PCI:0000:1b:00): 13, Graphics Exception: ESR 0x51d730=0x24000e 0x51d734=0x20\n",
        Form.DRIVER,
        Failure.DEVICE_EXCEPTION,
    ),
    "Xid 48": (
        "[1.000] NVRM: Xid (PCI:0000:1b:00): 48, pid='<unknown>', name=<unknown>, DBE (double bit error) detected\n",
        Form.DRIVER,
        Failure.HARDWARE,
    ),
    "racecheck": (
        "========= Error: Race reported between Write access at store_kv+0x80 and Read access at store_kv+0x120 [96 hazards]\n",
        Form.SANITIZER,
        Failure.RACE,
    ),
    "initcheck": (
        "========= Uninitialized __global__ memory read of size 2 bytes\n=========     at _fwd_kernel+0x210 in extend_attention.py:210\n",
        Form.SANITIZER,
        Failure.UNINITIALISED,
    ),
    "the scheduler's watchdog": (
        "[2026-11-04 02:11:09 TP0] Watchdog timeout (self.watchdog_timeout=300, self.soft=False)\n",
        Form.PEER,
        Failure.HUNG,
    ),
}

NOISE = """\
gpu-7:771:902 [1] NCCL INFO Bootstrap: Using eth0:10.0.0.7<0>
gpu-7:771:902 [1] transport/net.cc:301 NCCL WARN Connect to 10.0.0.9<4117> failed : Connection refused, retrying
[2026-11-04 02:11:08 TP0] Received sigquit from a child process. It usually means the child failed.
"""

UNKNOWN = {
    "the kernel's out-of-memory killer": "[991.1] Out of memory: Killed process 90311 (sglang::schedul) total-vm:991k\n",
    "NaN": "[2026-11-04 02:11:09 TP0] Detected errors during sampling! NaN in the logits.\n",
    "another maker's GPU": "Memory access fault by GPU node-4 (Agent handle: 0x55d) on address 0x7b2c40a01000. Reason: Page not present.\n",
    "a leak of allocations": "========= Leaked 2,097,152 bytes at 0x7b2c40a00000\n",
    "prose": "Our server dies after two hours with illegal memory access. I read that page_table[0, 127] = 10742 is out of range, see 26957.\n",
}
