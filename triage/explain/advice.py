"""What an observation means where no dump lies beside it, what it lacks, and how to get that.

One function per kind of text. Each says what the text holds; what it does not hold is
named as missing with the command that would get it, and never guessed.

Long because it is one list: a function per kind of text, each with its commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from triage.dump.kernel_names import Kernel, Role, kernel_of, short, trtllm_gen_name
from triage.dump.observation import DEVICE_FAULTS, Access, Failure, Form, Observation
from triage.explain.rules_log import told_by_a_log

ARM = "SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_CHECKS={checks} <the same server command>"
CONTAIN = "SGLANG_TRTLLM_MHA_DEBUG=1 SGLANG_TRTLLM_MHA_DEBUG_MODE=contain <the same server command>"
CORE = (
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION=1 CUDA_COREDUMP_FILE=core.%h.%p <the same server command>, "
    "then: cuda-gdb -batch -ex 'target cudacore core.<host>.<pid>' -ex 'info cuda kernels' "
    "-ex 'x/i $errorpc' -ex 'info registers'"
)
SANITIZER = (
    "compute-sanitizer --tool memcheck --target-processes all <the same server command>  "
    "(slow: use --disable-cuda-graph and a short workload)"
)
BLOCKING = "CUDA_LAUNCH_BLOCKING=1 <the same server command, with --disable-cuda-graph>"
LEVEL_10 = (
    "FLASHINFER_LOGLEVEL=10 FLASHINFER_DUMP_DIR=calls <the same server command>, "
    "then: triage explain calls"
)
WITH_DUMP = "triage explain {source} DUMP"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one observation tells. Texts are whole sentences.

    attention, ours: of the kernel; None where it is not named. covered: is it a kernel that
    the recorded launches can be? families: which checks of this tool see the class.
    """

    headline: str
    says: tuple[str, ...]
    missing: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    attention: bool | None = None
    covered: bool | None = None
    ours: bool | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "headline": self.headline,
            "says": list(self.says),
            "missing": list(self.missing),
            "next": list(self.next),
            "families": list(self.families),
            "attention": self.attention,
            "covered": self.covered,
            "ours": self.ours,
        }


def read(seen: Observation) -> Reading:
    """The reading of one observation."""
    reading = _BY_FORM.get(seen.form, _unknown)(seen)
    server = seen.values.get("server")
    return reading if not server else _elsewhere(reading, str(server))


def _elsewhere(reading: Reading, server: str) -> Reading:
    """The same in another server's log, where no trap of ours stands."""
    commands = tuple(each for each in reading.next if "SGLANG_" not in each)
    if not any(map(_of_the_table, reading.families)):
        return replace(reading, next=commands, families=())
    says = f"a log of {server}: the traps of this tool stand in SGLang and see nothing of it"
    return replace(reading, says=(*reading.says, says), next=(LEVEL_10, *commands), families=())


def _of_the_table(family: str) -> bool:
    return family in ("reads", "writes", "geometry")


_NOT_COVERED = (
    "the family reads stands at the launches of trtllm_mha (trtllm-gen, XQA), not at this one; "
    "the allocator's families see the slots and pages of any backend"
)


_MIXED = (
    "two processes wrote their reports into each other here: which kernel belongs to which "
    "address is not told; compute-sanitizer --log-file san.%p.log keeps them apart"
)


def _kernel_facts(kernel: Kernel | None) -> dict[str, bool | None]:
    if kernel is None:
        return {"attention": None, "covered": None, "ours": None}
    known = kernel.role is not Role.UNKNOWN
    return {
        "attention": kernel.attention,
        "covered": kernel.covered if known else None,
        "ours": kernel.ours if known else None,
    }


def _device(seen: Observation) -> Reading:
    """A device fault that a tool caught."""
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    says: list[str] = []
    missing: list[str] = []
    if kernel is None:
        missing.append("which kernel faulted")
    else:
        says.append(kernel.sentence())
        says += _of_the_name(seen)
    runs_on = seen.failure in _NO_EXCEPTION
    if kernel is not None and kernel.attention and not kernel.covered and not runs_on:
        says.append(_NOT_COVERED)
    if seen.values.get("mixed"):
        says.append(_MIXED)
    if seen.kernel_at:
        says.append(f"at {seen.kernel_at}")
    if seen.values.get("exception"):
        where = f", {seen.values['where']}" if seen.values.get("where") else ""
        says.append(f"the exception is {seen.values['exception']}{where}")
    says.append(_access(seen))
    if seen.space in ("shared", "local"):
        says.append(f"{seen.space} memory is the kernel's own: no page id leads there")
    if seen.address is None and not runs_on:
        missing.append("the faulting address")
    says += _nearest(seen)
    if runs_on:
        return Reading(
            f"{_NO_EXCEPTION[seen.failure]} in {_kernel_name(seen)}",
            tuple(filter(None, (*says, *(text.lstrip("= ") for text in seen.text[:1])))),
            tuple(missing),
            (),
            (),
            **_kernel_facts(kernel),
        )
    commands = _get_it(seen, kernel)
    return Reading(
        f"{seen.failure.value} in {_kernel_name(seen)}",
        tuple(filter(None, says)),
        tuple(missing) + (("read or write",) if seen.access is Access.UNKNOWN else ()),
        commands,
        _families(seen, kernel),
        **_kernel_facts(kernel),
    )


_NO_EXCEPTION = {
    Failure.UNINITIALISED: "read of uninitialised memory",
    Failure.RACE: "race on shared memory",
    Failure.BARRIER: "a barrier that threads wait at wrongly",
    Failure.UNKNOWN: "a report of a kind that is not known here,",
}
"""What compute-sanitizer's other tools tell of a kernel that runs on: no address ends it."""


def _kernel_name(seen: Observation) -> str:
    return short(seen.kernel) if seen.kernel else "a kernel not named"


def _of_the_name(seen: Observation) -> list[str]:
    kernel = trtllm_gen_name(seen.kernel)
    if kernel is None:
        return []
    parts = []
    if kernel.head_dim is not None:
        parts.append(f"head_dim {kernel.head_dim}")
    if kernel.page_size is not None:
        parts.append(f"pages of {kernel.page_size} tokens")
    if kernel.windowed is not None:
        parts.append("sliding or chunked window" if kernel.windowed else "no window")
    if kernel.decode is not None:
        parts.append("decode" if kernel.decode else "context")
    return [f"its name tells: {', '.join(parts)}"] if parts else []


def _access(seen: Observation) -> str:
    if seen.access is Access.UNKNOWN and seen.address is None:
        return ""
    kind = "an access" if seen.access is Access.UNKNOWN else f"a {seen.access.value}"
    size = f" of {seen.access_bytes} bytes" if seen.access_bytes else ""
    where = f" of {seen.space} memory" if seen.space else ""
    at = f" at {seen.address:#x}" if seen.address is not None else ""
    more = "; whether it read or wrote is not recorded" if seen.access is Access.UNKNOWN else ""
    return f"{kind}{size}{where}{at}{more}"


def _nearest(seen: Observation) -> list[str]:
    near = seen.nearest
    if _beside_null(seen):
        return [
            f"{seen.address:#x} is next to address 0: a base pointer was null, and no index, "
            "however wrong, leads there from a pool; which pointer it was is not told"
        ]
    if not near:
        return []
    size = f" of {near['bytes']:,} bytes" if near.get("bytes") else ""
    base = f" at {near['address']:#x}" if near.get("address") else ""
    distance = f"{near['distance']:,} bytes " if near.get("distance") else ""
    past = _past_the_end(seen)
    if past:
        return [f"it begins inside the allocation{base}{size} and ends {past:,} bytes past its end"]
    text = f"{distance}{near.get('side', 'near')} the nearest allocation{base}{size}"
    found = [text]
    if near.get("bytes"):
        found.append(
            "with a dump of the same process that size tells whether it is a KV cache of the launch"
        )
    return found


NEAR_NULL = 1 << 16
"""Below it no driver maps anything: an offset from a pointer that is 0."""


def _beside_null(seen: Observation) -> bool:
    device = seen.space in ("", "global") and seen.failure in DEVICE_FAULTS
    return device and seen.address is not None and seen.address < NEAR_NULL


def _past_the_end(seen: Observation) -> int:
    """How many bytes of an access that begins inside an allocation lie behind it."""
    near = seen.nearest or {}
    start, size = near.get("address"), near.get("bytes")
    if seen.address is None or not seen.access_bytes or start is None or not size:
        return 0
    inside = start <= seen.address < start + size
    return max(seen.address + seen.access_bytes - start - size, 0) if inside else 0


def _families(seen: Observation, kernel: Kernel | None) -> tuple[str, ...]:
    if kernel is not None and kernel.role is Role.WRITES_KV:
        return ("writes", "allocator")
    if kernel is not None and kernel.role is Role.INDICES:
        return ("geometry", "lifecycle", "spec")
    if seen.space in ("shared", "local") or _beside_null(seen):
        return ()
    if kernel is not None and kernel.covered:
        return ("reads",) if seen.access is not Access.WRITE else ("writes",)
    if kernel is not None and kernel.attention:
        return ("allocator", "lifecycle")
    if kernel is None or kernel.role is Role.UNKNOWN:
        return ("reads", "writes")
    return ()


def _get_it(seen: Observation, kernel: Kernel | None) -> tuple[str, ...]:
    found: list[str] = []
    if seen.address is None:
        found.append(SANITIZER if seen.form is not Form.SANITIZER else CORE)
        if seen.form is Form.DEBUGGER:
            found.append("in cuda-gdb: print $errorpc, x/i $errorpc, info registers")
    families = _families(seen, kernel)
    if families:
        found.append(ARM.format(checks=",".join(families)))
    if seen.space in ("shared", "local"):
        pass
    elif kernel is None or kernel.attention is not False or kernel.role is Role.WRITES_KV:
        found.append(WITH_DUMP.format(source=seen.source or "LOG"))
    elif not kernel.ours:
        found.append("look at that kernel's caller: the traps of this tool do not see it")
    return tuple(found)


def _xid(seen: Observation) -> Reading:
    number = int(seen.values.get("xid", 0))
    if number == 31:
        reading = _device(seen)
        says = (f"Xid 31: {seen.values.get('means')}", *reading.says)
        process = seen.values.get("process")
        if process:
            says = (*says, f"of process {process} (pid {seen.values.get('pid')})")
        kind = "a page" if seen.access is Access.UNKNOWN else seen.access.value
        return Reading(
            f"Xid 31, {kind} fault{_of_gpu(seen)}",
            says,
            reading.missing,
            (*_write_or_read(seen), *reading.next),
            ("writes",) if seen.access is Access.WRITE else reading.families,
        )
    means = seen.values.get("means") or "a kind that is not known here"
    if number == 13:
        return Reading(
            f"Xid 13{_of_gpu(seen)}",
            (
                f"Xid 13: {means}",
                "it tells that a kernel raised an exception on that GPU, and on which of its units",
                "it cannot tell the address, the kernel, or whether it read or wrote; the ESR "
                "numbers are flags of the unit",
            ),
            ("the faulting address", "which kernel faulted", "read or write"),
            (CORE, CONTAIN),
            ("reads", "writes"),
        )
    if seen.failure is Failure.HARDWARE:
        return Reading(
            f"Xid {number}{_of_gpu(seen)}",
            (f"Xid {number}: {means}", _HARDWARE),
            (),
            ("nvidia-smi -q -d ECC,ROW_REMAPPER; drain the node, reset or replace that GPU",),
        )
    return Reading(
        f"Xid {number}{_of_gpu(seen)}",
        (f"Xid {number}: {means}",),
        ("which kernel ran",),
        ("nvidia-smi -q -d ECC,PAGE_RETIREMENT; dmesg for the Xid before it",),
    )


_HARDWARE = (
    "the GPU or its memory is to blame, and nothing that software did; a traceback beside it is "
    "where the error surfaced"
)


def _of_gpu(seen: Observation) -> str:
    pci = seen.values.get("pci")
    return f" of the GPU at {pci}" if pci else ""


def _write_or_read(seen: Observation) -> tuple[str, ...]:
    if seen.access is Access.WRITE:
        return (ARM.format(checks="writes,allocator"),)
    return ()


def _host(seen: Observation) -> Reading:
    """What the host heard: some kernel faulted, and where that was noticed."""
    values = seen.values
    says = []
    attention = values.get("attention")
    if "address space" in " ".join(seen.text):
        says.append(
            "told as 'operation not supported on global/shared address space': the wrong address "
            "lay in a window that the GPU keeps for other memory; it is the same fault"
        )
    if values.get("noticed_at"):
        says.append(f"noticed at {values['noticed_at']}")
    if values.get("library"):
        says.append(f"that is {values['library']}")
    if values.get("frames"):
        says.append(f"the host was in {values['frames'][-1]}")
    if values.get("call"):
        says.append(f"under a call of {values['call']}")
    if seen.failure is Failure.HARDWARE:
        return Reading(
            f"{seen.failure.value}, as the host heard of it",
            (*says, _HARDWARE),
            (),
            ("nvidia-smi -q -d ECC,ROW_REMAPPER; dmesg for the Xid of that GPU",),
        )
    if seen.failure in DEVICE_FAULTS and not values.get("sanitizer"):
        says.append(
            "CUDA errors are reported late: the kernel that faulted ran before that line, unless "
            "CUDA_LAUNCH_BLOCKING=1 was set"
        )
    families: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    if seen.failure is Failure.ASSERT:
        missing = ("which assertion, if its line is not in this log",)
        commands = (BLOCKING,)
        families = ("graph", "lifecycle")
    elif seen.failure in DEVICE_FAULTS:
        missing = ("which kernel faulted", "the faulting address", "read or write")
        families, commands = ("reads", "writes"), (CONTAIN, CORE, BLOCKING)
        if values.get("attention") and values.get("covered") is False:
            says.append(_NOT_COVERED)
            families = ("allocator", "lifecycle")
            commands = (ARM.format(checks="allocator,lifecycle"), CORE, BLOCKING)
        if values.get("asynchronous") is None and values.get("frames"):
            missing = ("whether CUDA_LAUNCH_BLOCKING=1 was set", *missing)
    elif seen.failure is Failure.REFUSED:
        return _refused(seen, tuple(says))
    elif seen.failure is Failure.OUT_OF_MEMORY:
        commands = ("triage pools  (work out the pools), or a smaller --mem-fraction-static",)
    return Reading(
        f"{seen.failure.value}, as the host heard of it",
        tuple(says),
        missing,
        commands,
        families,
        attention=attention if isinstance(attention, bool) else None,
    )


def _refused(seen: Observation, says: tuple[str, ...]) -> Reading:
    """A call that never ran: nothing was read or written."""
    values = seen.values
    message = values.get("message") or (seen.text[0] if seen.text else "")
    missing: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    if "TRTLLM-GEN" in message:
        headline = "FlashInfer has no trtllm-gen kernel for this call"
        told = ", ".join(f"{name}={value}" for name, value in _NUMBERS.findall(message))
        says = (*says, f"asked for: {told}") if told else says
        commands = (LEVEL_10, "triage kernels resolve DUMP  (which kernel a recorded call selects)")
    elif "shared memory" in message and "OutOfResources" in f"{values.get('type')} {message}":
        headline = "Triton refused a launch: it needs more shared memory than the GPU has"
    else:
        headline = "a launch or a call was refused: no kernel ran"
        missing = ("which call was refused",)
        commands = (BLOCKING,)
    return Reading(
        headline,
        (*says, message, "nothing was read or written: it is no fault of a page table"),
        missing,
        commands,
    )


_NUMBERS = re.compile(r"\b(headDim\w{0,12}|numTokensPerPage|kernelType|maskType)=(\d{1,6})")


def _assert(seen: Observation) -> Reading:
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    what = seen.values.get("asserted", "")
    at = f"at {seen.kernel_at}" if seen.kernel_at else ""
    says = [kernel.sentence() if kernel else "", f"asserted: {what}", at]
    bounds = any(word in str(what) for word in ("bounds", "< ", "index", "ind >=", "out of range"))
    if kernel is None:
        says.append("a kernel that torch.compile made: TORCH_LOGS=output_code prints its source")
    if bounds:
        says.append(
            "an index tensor of that operation is out of range: which tensor, its caller tells"
        )
    return Reading(
        f"device-side assert in {_kernel_name(seen)}",
        tuple(filter(None, says)),
        ("which call made it: the host hears of it later",),
        (BLOCKING, ARM.format(checks="graph,lifecycle,allocator")),
        ("graph", "lifecycle", "allocator"),
        **_kernel_facts(kernel),
    )


def _exception(seen: Observation) -> Reading:
    plugin = seen.values.get("plugin")
    if seen.failure is Failure.NOT_LOADED:
        return Reading(
            f"one process went on without the plugin {plugin}",
            (f"{seen.values.get('type')}: {seen.values.get('message') or '(no text)'}",),
        )
    if seen.values.get("type") == "Fatal Python error":
        signal = str(seen.values.get("message"))
        return Reading(
            f"a process died in its host code: {signal}",
            ("after a CUDA error this is its echo: C++ aborts where nobody catches the error",)
            if signal == "Aborted"
            else (),
            (),
            (CONTAIN,),
        )
    if seen.failure in (
        *DEVICE_FAULTS,
        *(Failure.OUT_OF_MEMORY, Failure.REFUSED, Failure.HARDWARE),
    ):
        return _host(seen)
    values = seen.values
    says = [f"{values.get('type')}: {values.get('message') or '(no text)'}"]
    says += [f"in {frame}" for frame in (values.get("frames") or [])[-2:]]
    if seen.failure is Failure.TREE:
        return Reading(
            "an assertion of SGLang's radix tree or cache",
            (*says, "the tree's marks, locks or lists contradict each other; what made them do "
             "so came before"),
            ("the operation that broke it",),
            (ARM.format(checks="tree,lifecycle"),),
            ("tree", "lifecycle"),
        )  # fmt: skip
    if seen.failure is Failure.POOL_FULL:
        told = _shortage(values)
        return Reading(
            "SGLang's KV pool had no page left to hand out",
            (*says, *told, "either the load is more than was planned for, or pages were lost, or "
             "the tree holds pages that nobody evicts: the sums of the pools tell which"),
            () if told else ("the sums of the pools",),
            (
                "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY=1 <the same server command>",
                ARM.format(checks="lifecycle,allocator,tree"),
                "triage pools  (work out the pools)",
            ),
            ("lifecycle", "allocator", "tree"),
        )  # fmt: skip
    if told_by_a_log(seen) is not None:
        return Reading(f"an exception that is known: {values.get('type')}", tuple(says))
    return Reading(
        f"an exception that is not known here: {values.get('type')}",
        tuple(says),
        (),
        (CONTAIN,),
    )


def _shortage(values: dict[str, Any]) -> list[str]:
    """Which pool is short, by what SGLang says beside its exception."""
    wanted, left = values.get("wanted"), values.get("left") or {}
    if wanted is None or not left:
        return []
    told = ", ".join(f"{number:,} in the {pool} pool" for pool, number in left.items())
    found = [f"{wanted:,} tokens were wanted; left, with what can be evicted: {told}"]
    short_of = [pool for pool, number in left.items() if number < wanted]
    if short_of and len(short_of) < len(left):
        found.append(f"so the {' and '.join(short_of)} pool is short, and the other is not")
    return [*found, "a shortage of KV slots, not of the GPU's memory"]


def _leak(seen: Observation) -> Reading:
    values = seen.values
    pool = str(values.get("pool") or "KV")
    armed = (ARM.format(checks="I4,I5,I6,I7"), ARM.format(checks="lifecycle,allocator,tree"))
    families = ("lifecycle", "allocator")
    if seen.failure is Failure.ROW_LEAK:
        terms = values.get("terms") or {}
        balance = ", ".join(f"{name}={number}" for name, number in terms.items())
        return Reading(
            _rows_lost(terms),
            (balance,),
            (),
            (ARM.format(checks="I14,I17"),),
            ("lifecycle",),
        )
    if seen.failure is Failure.USED_AFTER_FREE:
        pages = ", ".join(map(str, values.get("pages") or ()))
        return Reading(
            f"{values.get('count', 'some')} pages of the {pool} pool are held and free at once",
            (f"pages {pages}" if pages else "", "whoever is handed them next overwrites them"),
            ("which call freed them",),
            (ARM.format(checks="I5,I6,I17"),),
            families,
        )
    if "total" not in values:
        return Reading(
            f"SGLang's balance of the {pool} pool does not add up",
            ("the line holds no sums",),
            ("the sums",),
            armed,
            families,
        )
    total, counted, tokens = values["total"], values["seen"], values["tokens"]
    balance = f"{pool} pool: {counted:,} of {total:,} tokens are accounted for"
    if seen.failure is Failure.BALANCED:
        return Reading(
            f"the {pool} pool adds up",
            (f"{_in_its_unit(balance, pool)}: nothing is lost in it",),
        )
    short_of = seen.failure is Failure.LEAK
    if pool.startswith("mamba"):
        return Reading(
            f"{tokens:,} state{'s' if tokens != 1 else ''} of the {pool} pool "
            f"{'lost' if short_of else 'counted twice'}",
            (_in_its_unit(balance, pool), "no check of this tool looks at that pool"),
            ("which call lost them" if short_of else "which states are in two parts",),
        )
    what = "lost (in no part of the balance)" if short_of else "counted twice (an over-count)"
    if values.get("busy"):
        more = "counted while requests run, so a request between two states can be what it is"
    else:
        more = "counted at rest, where every page must be in one part"
    return Reading(
        f"{tokens:,} tokens of the {pool} pool are {what}: {_pages(values)}",
        (balance, more),
        ("which call lost them" if short_of else "which pages are in two parts",),
        armed,
        families,
    )


def _in_its_unit(balance: str, pool: str) -> str:
    return balance.replace("tokens", "states") if pool.startswith("mamba") else balance


def _rows_lost(terms: dict[str, int]) -> str:
    total, free = terms.get("total_size"), terms.get("available_size")
    if total is None or free is None or total == free + terms.get("session_held", 0):
        return "rows of req_to_token are lost, or counted twice"
    short_of = total - free - terms.get("session_held", 0)
    what = "lost" if short_of > 0 else "counted twice"
    return f"{abs(short_of):,} of {total:,} rows of req_to_token {what}"


def _pages(values: dict[str, object]) -> str:
    tokens, page = values.get("tokens"), values.get("page_size")
    if not isinstance(tokens, int):
        return "pages not recorded"
    if isinstance(page, int) and page > 0:
        pages = tokens // page
        rest = f" and {tokens % page} tokens" if tokens % page else ""
        return f"{pages} page{'s' if pages != 1 else ''} of {page}{rest}"
    divides = values.get("page_divides")
    if not isinstance(divides, int) or divides < 1:
        return "pages not recorded"
    sizes = [size for size in (256, 128, 64, 32, 16, 8, 4, 2, 1) if divides % size == 0]
    divided = " or ".join(f"{tokens // size} of {size}" for size in sizes[:3] if tokens % size == 0)
    return f"in pages {divided}; the page size is not in this log"


def _canary(seen: Observation) -> Reading:
    values = seen.values
    pool = "SWA" if values.get("pool") == "swa" else "full"
    return Reading(
        f"kv_canary: {pool} slot {values.get('slot')} (position {values.get('position')}) does not "
        "hold the token it was given",
        (
            f"{values.get('tag')}, {values.get('reason') or 'reason not recorded'}",
            "a write went to a slot that was not its own, or the page was freed or handed out "
            "while held: what is read through a right table is wrong then",
            *(("its slot is an SWA slot, translated already",) if pool == "SWA" else ()),
        ),
        ("who wrote it", "which row of which launch holds the slot"),
        (
            ARM.format(checks="writes,allocator,lifecycle"),
            WITH_DUMP.format(source=seen.source or "LOG"),
        ),
        ("writes", "allocator", "lifecycle"),
    )


def _tma(seen: Observation) -> Reading:
    values = seen.values
    dims = values.get("globalDim")
    says = []
    if values.get("gmem_address"):
        says.append(f"the tensor lies at {values['gmem_address']:#x}, extents {dims}")
    if seen.failure is Failure.ILLEGAL_ADDRESS:
        says.append(
            "error 700 was pending when the descriptor was made: an earlier kernel faulted, the "
            "descriptor is where it was noticed"
        )
        return Reading(
            "a TMA descriptor was refused with error 700: an earlier kernel's fault",
            tuple(says),
            ("which kernel faulted", "the faulting address", "read or write"),
            (CONTAIN, CORE, WITH_DUMP.format(source=seen.source or "LOG")),
            ("reads", "writes"),
        )
    code = values.get("error")
    says.append(
        "the descriptor itself was refused: a stride, an extent or the alignment is not legal"
        + (f" (error {code})" if code else "")
    )
    return Reading(
        "a TMA descriptor was refused",
        tuple(says),
        ("which call made it",),
        (LEVEL_10, ARM.format(checks="reads,geometry")),
        ("geometry",),
    )


def _call(seen: Observation) -> Reading:
    values = seen.values
    arguments = values.get("arguments") or {}
    table = arguments.get("block_tables")
    says = [
        "an attention call that is covered"
        if values.get("covered")
        else "an attention call that is not covered here"
        if values.get("attention")
        else "not an attention call"
    ]
    held = [name for name, value in arguments.items() if isinstance(value, dict)]
    if held:
        says.append(f"it holds shapes and types of {', '.join(held[:8])}")
    if isinstance(table, dict) and "max" in table:
        says.append(f"block_tables holds ids from {table.get('min')} to {table['max']}")
        cache = arguments.get("kv_cache")
        if not isinstance(cache, dict) or "shape" not in cache:
            says.append("how many pages the cache has is not recorded, so the ids cannot be judged")
    if "pages" in values:
        says += _planned(values)
    missing = ("the values of block_tables and seq_lens",) if values.get("attention") else ()
    return Reading(
        f"FlashInfer logged {seen.count} call{'s' if seen.count != 1 else ''} of "
        f"{values.get('call')}; this is the last",
        tuple(says),
        missing,
        (LEVEL_10,) if missing else (),
        ("reads",) if values.get("attention") else (),
        attention=bool(values.get("attention")),
        covered=bool(values.get("covered")),
    )


def _planned(values: dict[str, Any]) -> list[str]:
    """Does the largest page id that the wrapper was planned with lie in this call's cache?"""
    largest, pages = values["largest_id"], values["pages"]
    told = f"its plan holds page ids up to {largest}, and the cache has pages 0 to {pages - 1}"
    if largest < pages:
        return [f"{told}: none is past its end"]
    return [
        f"{told}: an id is out of range, and what it leads to lies past the cache's end",
        "which request holds it, and who made it, is not told",
    ]


def _trap(seen: Observation) -> Reading:
    dump = seen.values.get("dump")
    message = str(seen.values.get("message") or (seen.text[0] if seen.text else ""))
    if dump:
        return Reading("a trap of this tool fired", (message,), (), (f"triage explain {dump}",))
    checks = dict.fromkeys(_INVARIANT.findall(message))
    return Reading(
        "a trap of this tool fired",
        (message,),
        ("the dump that it wrote, in SGLANG_TRTLLM_MHA_DEBUG_DIR",),
        tuple(f"triage explain {check}" for check in checks),
    )


_INVARIANT = re.compile(r"\bI(?:[1-9]|[12]\d)\b")


_WAITS = {
    "": "a kernel of this rank's own that hangs and a wait for another rank look alike here",
    "gpu": "its stack waits for its GPU: a kernel of it, or a collective on it, does not end",
    "peer": "its stack waits on the CPU for another rank: it is held up, and not what hangs",
}
"""By what the main thread of a rank was seen to wait for."""

_NO_PAGES = "that tells nothing of pages, nor of an illegal access"


def _peer(seen: Observation) -> Reading:
    whose = seen.values.get("tells_of")
    if seen.failure is Failure.STOPPED:
        return Reading(
            "the server was asked to stop (SIGTERM); exit code -15 is that signal, no fault",
            seen.text[:1],
        )
    if seen.failure is Failure.BEHIND:
        waiting = ", ".join(seen.values["waiting"])
        return Reading(
            f"{seen.rank} is behind: it never began collective {seen.values['awaited']}, which "
            f"{waiting} wait for",
            (
                f"the last that {seen.rank} began is {seen.values['begun']}",
                "its host is stuck or went another way; whoever waits only reports it",
                _NO_PAGES,
            ),
            (f"what {seen.rank} was doing",),
            (f"while it hangs: py-spy dump --native --pid <pid of {seen.rank}>",),
        )
    if "collective" in seen.values:
        values = seen.values
        return Reading(
            f"a collective did not end in time: {values['collective']} {values['sequence']}",
            (*seen.text[:1], "a rank that did not come to it holds up the others", _NO_PAGES),
        )
    if seen.failure is Failure.HUNG:
        return Reading(
            "a step did not end in time (the scheduler's watchdog)",
            (*seen.text[:1], _WAITS[str(seen.values.get("waits", ""))]),
            ("which kernel runs, on each rank",),
            (
                "while it hangs, for each scheduler: py-spy dump --pid <pid>; "
                "cuda-gdb -p <pid> -batch -ex 'info cuda kernels'",
            ),
        )
    return Reading(
        f"was notified that {whose} ended"
        if whose
        else "ended or waited because another process did",
        seen.text[:1],
    )


def _unknown(seen: Observation) -> Reading:
    return Reading("not known here", seen.text[:3])


_BY_FORM: dict[Form, Callable[[Observation], Reading]] = {
    Form.SANITIZER: _device,
    Form.DEBUGGER: _device,
    Form.CORE: _device,
    Form.DRIVER: _xid,
    Form.CUDA_ERROR: _host,
    Form.DEVICE_ASSERT: _assert,
    Form.TMA: _tma,
    Form.EXCEPTION: _exception,
    Form.ASSERTION: _exception,
    Form.LEAK: _leak,
    Form.CANARY: _canary,
    Form.TRAP: _trap,
    Form.CALL: _call,
    Form.PEER: _peer,
}
