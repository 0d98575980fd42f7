"""CUDA errors as the host hears of them, device-side asserts, and TMA descriptors.

The rule: an error that the host hears of is older than the line that tells it, unless
CUDA_LAUNCH_BLOCKING=1 was set; the place in the host's code is kept as where it was noticed,
not as what faulted. Error 700 at a descriptor or a launch is an earlier kernel's.
"""

from __future__ import annotations

import re
from typing import Any

from triage.dump.observation import Failure, Form, Observation
from triage.importers.passage import Passage, shown

HEAD = re.compile(
    r"CUDA [Ww]arning: |CUDA [Ee]rror:?\s{0,2}(?:\((?P<file>[^\s:()]{1,300}:\d{1,7})\):?)?"
    r"|CUDA_ERROR_(?P<name>[A-Z_]{4,60})|Cuda failure\s(?P<nccl>.{1,120})"
    r"|Triton Error \[CUDA\]|CUDA [Dd]river error|CUBLAS_STATUS_\w{1,40}"
    r"|\bcudaError(?P<short>[A-Z]\w{3,60})|CUDA out of memory|OutOfResources: out of resource"
    r"|Missing TRTLLM-GEN kernel"
)
_KINDS: tuple[tuple[re.Pattern[str], Failure], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), failure)
    for pattern, failure in (
        (r"i[l1]{2}ega[l1] memory access|global/shared address space|ILLEGAL_ADDRESS|IllegalAddress"
         r"|\berror 700|failure 700", Failure.ILLEGAL_ADDRESS),
        (r"misaligned", Failure.MISALIGNED),
        (r"ECC error|ECC_UNCORRECTABLE|ECCUncorrectable", Failure.HARDWARE),
        (r"device-side assert|CUDA_ERROR_ASSERT|cudaErrorAssert", Failure.ASSERT),
        (r"illegal instruction|ILLEGAL_INSTRUCTION|IllegalInstruction",
         Failure.ILLEGAL_INSTRUCTION),
        (r"hardware stack|HARDWARE_STACK", Failure.HARDWARE_STACK),
        (r"out of memory|OUT_OF_MEMORY|MemoryAllocation", Failure.OUT_OF_MEMORY),
        (r"out of resource|LAUNCH_OUT_OF_RESOURCES|too many resources|LaunchOutOfResources"
         r"|invalid (?:argument|configuration|device function)|INVALID_VALUE|InvalidConfiguration"
         r"|no kernel image|NO_BINARY_FOR_GPU|Missing TRTLLM-GEN kernel", Failure.REFUSED),
        (r"launch fail|LAUNCH_FAILED|LaunchFailure|EXECUTION_FAILED", Failure.LAUNCH_FAILED),
    )
)  # fmt: skip
_FILE = re.compile(
    r"(?P<file>(?:/|[\w.-]{1,80}/)[^\s:()'\"]{1,300}\.(?:cuh?|cpp|cc|h|hpp|py))[\s:(]{1,2}"
    r"(?:line )?(?P<line>\d{1,7})"
)
_LIBRARIES = (
    # part of a path, whose code it is, is it attention, is it a launch that is covered here
    ("fmhaKernels", "trtllm-gen attention (FlashInfer)", True, True),
    ("trtllm_fmha", "trtllm-gen attention (FlashInfer)", True, True),
    ("flash-attention", "flash-attention 3 (not trtllm_mha)", True, False),
    ("flash_fwd_launch", "flash-attention 3 (not trtllm_mha)", True, False),
    ("flash_attn", "flash-attention (not trtllm_mha)", True, False),
    ("xqa", "XQA attention (FlashInfer)", True, True),
    ("batch_decode", "FlashInfer decode (not trtllm-gen)", True, False),
    ("batch_prefill", "FlashInfer prefill (not trtllm-gen)", True, False),
    ("attention/decode.cuh", "FlashInfer decode (not trtllm-gen)", True, False),
    ("attention/prefill.cuh", "FlashInfer prefill (not trtllm-gen)", True, False),
    ("mla", "MLA attention", True, False),
    ("bmm", "a trtllm-gen matrix product", False, False),
    ("batched_gemm", "a trtllm-gen matrix product", False, False),
    ("moe", "a mixture of experts", False, False),
    ("deep_gemm", "a matrix product (DeepGEMM)", False, False),
    ("gemm", "a matrix product", False, False),
    ("nccl", "communication", False, False),
)


def library_of(path: str) -> dict[str, Any]:
    """`library`, `attention` and `covered` for a file that an error names; empty if unknown."""
    for part, whose, attention, covered in _LIBRARIES:
        if part in path.lower() or part in path:
            return {"library": whose, "attention": attention, "covered": covered}
    return {}


def failure_of(text: str) -> Failure:
    for pattern, failure in _KINDS:
        if pattern.search(text):
            return failure
    return Failure.OTHER_CUDA


def parse(passage: Passage, source: str) -> Observation | None:
    """The error told on the passage's first line; None for a line that only links to one."""
    text = passage.head.text
    if text.lstrip().startswith(("Search for", "For debugging", "Compile with")):
        return None
    failure = failure_of(text)
    if failure is Failure.OTHER_CUDA and not re.search(r"CUDA [Ee]rror|failure|CUBLAS", text):
        return None
    at = _FILE.search(text)
    values: dict[str, Any] = {}
    if at is not None:
        values["noticed_at"] = f"{at['file']}:{at['line']}"
        values |= library_of(at["file"])
    following = [line.text for _, line in passage.following(6)]
    if any("asynchronously reported" in line for line in (text, *following)):
        values["asynchronous"] = True
    return Observation(
        Form.CUDA_ERROR,
        failure,
        source,
        passage.head.number,
        passage.rank,
        passage.head.time,
        values=values,
        text=shown([passage.head]),
    )


ASSERT_HEAD = re.compile(
    r"(?P<file>[^\s:]{1,300}):(?P<line>\d{1,7}):\s{0,2}(?P<function>[^\s:][^:]{0,400}?):\s{1,2}"
    r"block: ?\[(?P<block>[\d, ]{1,40})\],? ?thread: ?\[(?P<thread>[\d, ]{1,40})\],? ?"
    r"Assertion [`'\"]?(?P<what>.{1,400}?)[`'\"]? failed"
)
_ASSERT_HEAD_SHORT = re.compile(r"block: ?\[[\d, ]{1,40}\],? ?thread: ?\[[\d, ]{1,40}\]")


def is_assert(text: str) -> bool:
    return bool(_ASSERT_HEAD_SHORT.search(text) or ASSERT_HEAD.search(text))


def parse_assert(passage: Passage, source: str) -> Observation | None:
    """A device-side assert; wrapped lines are joined."""
    found = ASSERT_HEAD.search(passage.head.text) or ASSERT_HEAD.search(passage.joined(3))
    if found is None:
        return None
    function = found["function"].strip()
    if function == "unknown":  # a kernel of torch.compile says neither its name nor its file
        function, found_at = "", ""
    else:
        found_at = f"{found['file']}:{found['line']}"
    return Observation(
        Form.DEVICE_ASSERT,
        Failure.ASSERT,
        source,
        passage.head.number,
        passage.head.rank,
        passage.head.time,
        kernel=function,
        kernel_at=found_at,
        values={"asserted": found["what"].strip()[:300], "block": found["block"]},
        text=shown([passage.head]),
    )


TMA_HEAD = re.compile(r"TMA Desc Addr|TMA descriptor|[Ff]ailed to encode tensor ?map")
_TMA_FIELD = re.compile(
    r"\b(?P<name>format|dim|gmem_address|globalDim|globalStrides|boxDim|elementStrides|interleave"
    r"|swizzle|l2Promotion|oobFill)\s{1,12}(?P<value>0x[0-9a-fA-F]{1,20}|\([\d,\s]{1,120}\)|\d{1,12})"
)
_TMA_ERROR = re.compile(
    r"(?:[Ff]ailed to (?:initialize|encode)|Error[: ]).{0,80}?(?:TMA descriptor|tensor ?map)"
    r"\D{0,40}(?P<code>\d{1,4})?"
)


EARLIER = frozenset({700, 716, 717, 719})
"""CUDA's numbers of faults of a kernel: pending when something else is tried."""


def descriptor_failure(code: int | None) -> Failure:
    return Failure.ILLEGAL_ADDRESS if code in EARLIER else Failure.DESCRIPTOR


def tma_code(text: str) -> int | None:
    """The error with which a descriptor was refused; None where the text is of something else."""
    told = _TMA_ERROR.search(text)
    return int(told["code"]) if told is not None and told["code"] else None


def parse_tma(passage: Passage, source: str) -> tuple[Observation, int]:
    """A descriptor that was printed because it was refused, and the index of its last line."""
    lines, last = [passage.head], passage.at
    for index, line in passage.following(24):
        if "TMA Desc Addr" in line.text:
            break
        lines.append(line)
        last = index
        if _TMA_ERROR.search(line.text):
            break
    values: dict[str, Any] = {}
    for line in lines:
        for found in _TMA_FIELD.finditer(line.text):
            values.setdefault(found["name"], _number(found["value"]))
        error = _TMA_ERROR.search(line.text)
        if error is not None and error["code"]:
            values["error"] = int(error["code"])
    return (
        Observation(
            Form.TMA,
            descriptor_failure(values.get("error")),
            source,
            passage.head.number,
            passage.rank,
            passage.head.time,
            values=values,
            text=shown(lines),
        ),
        last,
    )  # fmt: skip


def _number(text: str) -> Any:
    if text.startswith("("):
        return [int(part) for part in re.findall(r"\d{1,19}", text)]
    return int(text, 16) if text.startswith("0x") else int(text)
