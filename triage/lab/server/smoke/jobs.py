"""What the smoke plays, in order of worth: the first job is the one to have if only one fits.

A defect is there from a server's start, as it was in its release, and shows once both pools
hand out different ids; `page-exchange` and `far-first` begin at a moment of the smoke's.

Every server has frozen-KV MTP, CUDA graphs and overlap scheduling, unless it says otherwise.
`default` means what the README tells a user to type: SGLANG_TRTLLM_MHA_DEBUG=1 alone.
"""

from __future__ import annotations

from typing import Any

from triage.lab.server.kernel_mistakes import MISTAKES
from triage.lab.server.ledger_defects import PLANTED
from triage.lab.server.smoke.job_server import Job

DEFAULT = {"SGLANG_TRTLLM_MHA_DEBUG": "1"}
CONTAIN = {**DEFAULT, "SGLANG_TRTLLM_MHA_DEBUG_MODE": "contain"}
KEEP_PREFIX = {**DEFAULT, "SGLANG_TRIAGE_FIXES": "keep-locked-prefix"}
EVERY_CHECK = {**DEFAULT, "SGLANG_TRTLLM_MHA_DEBUG_CHECKS": "all"}
"""Every check, the ledger of the allocator included, which reads the device at each call."""
FIX = {**CONTAIN, "SGLANG_TRIAGE_FIXES": "state-swap"}
STALE = "stale-swa-state"
FAR, EXCHANGE = "far-first", "page-exchange"
PREFIX_FREED = "locked-prefix-freed"
EXCHANGED = "exchanged-pages"
"""What `page-exchange` is explained as."""
FUSED = {"SGLANG_TRIAGE_FUSED": "ple-tail"}
"""Our kernels behind the per-layer embeddings, nothing else of ours."""
SILENT_FLAGS = ("--swa-full-tokens-ratio", "1.0")
"""An SWA pool as large as the full one: every full id lies within every SWA buffer."""
THROUGH_FLASHINFER: dict[str, Any] = {
    "observers": ("slot-oracle",),
    "model": "laguna",
    "mtp": False,
    "flags": ("--disable-piecewise-cuda-graph",),
    "least_s": 150.0,
}
"""Decode in graphs, prompts eager and in chunks. FlashInfer compiles one module, once."""

THROUGH_TRITON: dict[str, Any] = {
    "observers": ("slot-oracle",),
    "mtp": False,
    "flags": ("--attention-backend", "triton"),
    "released": ("decode-window-short",),
}
"""Gemma-4 as most serve it: prompts eager, decode in graphs whose slots are filled before each."""

JOBS = (
    Job(
        "default",
        "default mode: as without us, and no false alarm",
        ("plain", "mixed:900"),
        env=DEFAULT,
    ),
    Job(
        "contain",
        "contain: the same promises as default mode's",
        ("plain", "mixed:900"),
        env=CONTAIN,
    ),
    Job(
        "off",
        "without sglang-triage: what the others are compared with",
        ("plain", "plain_again", "mixed:200"),
        observers=("oracle", "drafts"),
    ),
    Job(
        "crash-default",
        "wide SWA pages, default mode: an exception, a dump, the cause, before any token leaves",
        (f"alarm:{STALE}",),
        env=DEFAULT,
        defects={STALE: True, FAR: False},
        observers=("oracle", "address-map"),
        model="story",
    ),
    Job(
        "crash-off",
        "the same without sglang-triage: the real illegal memory access",
        ("crash",),
        defects={STALE: True, FAR: False},
        observers=("oracle", "address-map"),
        model="story",
    ),
    Job(
        "defect-default",
        "the defect, default mode: the alarm in the first wrong step",
        (f"alarm:{STALE}",),
        env=DEFAULT,
        defects={STALE: True},
    ),
    Job(
        "defect-contain",
        "the defect, contain: the alarm in the first wrong step",
        (f"alarm:{STALE}",),
        env=CONTAIN,
        defects={STALE: True},
    ),
    Job(
        "inject",
        "default mode, an error at each call of ours: answers as without us, each told once",
        ("plain", "plain_injected"),
        env=DEFAULT,
        observers=("injector",),
    ),
    Job(
        "silent",
        "the defect's silent form, no sglang-triage: wrong pages, all of them mapped",
        ("plain",),
        defects={STALE: True},
        observers=("oracle", "drafts", "address-map"),
        flags=SILENT_FLAGS,
    ),
    Job(
        "fix",
        "the defect, and the fix: as the sound server, draft tokens included",
        ("plain", "mixed:200"),
        env=FIX,
        defects={STALE: True},
        observers=("oracle", "drafts"),
    ),
    Job(
        "off-target",
        "no draft, no sglang-triage: sound, then two requests' pages change places",
        ("plain", "plain_wrong"),
        defects={EXCHANGE: False},
        mtp=False,
    ),
    Job(
        "target",
        "no draft, default mode: the same exchange, and the alarm in its first step",
        ("plain", f"alarm:{EXCHANGED}"),
        env=DEFAULT,
        defects={EXCHANGE: False},
        mtp=False,
    ),
    Job(
        "eager",
        "no draft, no graphs, default mode: the exception comes before the launch",
        ("plain", "mixed:100", f"alarm:{EXCHANGED}"),
        env=KEEP_PREFIX,
        defects={EXCHANGE: False},
        mtp=False,
        flags=("--disable-cuda-graph",),
    ),
    # -- FlashInfer's own backend (fa2), a model that is not Gemma-4 (`laguna.py`) -----------
    Job(
        "flashinfer-target",
        "another model through FlashInfer, default mode: no alarm, then the exchange's, at once",
        ("plain", "mixed:300", f"alarm:{EXCHANGED}"),
        env=KEEP_PREFIX,  # as `eager`: a mixed load meets 0.5.14's own defect
        defects={EXCHANGE: False},
        **THROUGH_FLASHINFER,
    ),
    Job(
        "flashinfer-off",
        "the same without sglang-triage: what its answers are compared with",
        ("plain", "plain_again"),
        **THROUGH_FLASHINFER,
    ),
    Job(
        "flashinfer-contain",
        "the same in contain",
        ("plain", "mixed:100", f"alarm:{EXCHANGED}"),
        env={**CONTAIN, **KEEP_PREFIX},
        defects={EXCHANGE: False},
        **THROUGH_FLASHINFER,
    ),
    # -- SGLang's own Triton backend, for prompts and decode ---------------------------------
    Job(
        "triton-contain",
        "Triton, contain: no alarm, then the exchange's, in its first wrong step",
        ("plain", "mixed:100", f"alarm:{EXCHANGED}"),
        env={**CONTAIN, **KEEP_PREFIX},
        defects={EXCHANGE: False},
        **THROUGH_TRITON,
    ),
    Job(
        "triton-default",
        "the same in the default mode",
        ("plain", "mixed:100", f"alarm:{EXCHANGED}"),
        env=KEEP_PREFIX,
        defects={EXCHANGE: False},
        **THROUGH_TRITON,
    ),
    Job(
        "triton-off",
        "the same without sglang-triage: what their answers are compared with",
        ("plain", "plain_again"),
        **THROUGH_TRITON,
    ),
    # ----------------------------------------------------------------------------------------
    *(
        Job(
            f"hand-{name}",
            "every check, a page given back wrongly: the evidence names the planted line",
            ("mixed:40", f"hand:{name}"),
            env={**KEEP_PREFIX, **EVERY_CHECK},  # a mixed load meets 0.5.14's own defect, too
            defects={name: False},
            observers=(),
            mtp=False,
        )
        for name in PLANTED
    ),
    Job(
        "locked-prefix",
        "SGLang 0.5.14's own defect, every check: the insert that frees what a request reads",
        (f"mixed_alarm:{PREFIX_FREED}",),
        env=EVERY_CHECK,
        observers=(),
        mtp=False,
        flags=("--disable-cuda-graph",),
    ),
    Job(
        "blind-row-zero",
        "a blind defect, default mode: a request gets the row that a graph's padding reads",
        ("plain", "mixed:100", "alarm:padding-row-given"),
        env=KEEP_PREFIX,
        defects={"row-zero": False},
        mtp=False,
    ),
    Job(
        "blind-write-tail",
        "a blind defect, default mode, Triton: padded tokens write to an earlier replay's slots",
        ("plain", "mixed:100", "alarm:foreign-write"),
        env=KEEP_PREFIX,
        defects={"write-tail": False},
        mtp=False,
        # The load runs eight at once, all of one length: eight are padded, as no graph has eight.
        flags=("--attention-backend", "triton", "--cuda-graph-bs", "4", "12", "32"),
        released=("decode-window-short",),
    ),
    *(
        Job(
            f"kernel-{name}",
            "a blind kernel mistake in a fused op: what the validator and the answers say",
            ("plain", f"validated:{name}", "plain_mistaken"),
            env=FUSED,
            mistake=name,
            observers=(),
            mtp=False,
            flags=("--disable-cuda-graph",),
            least_s=180.0,
        )
        for name in MISTAKES
    ),
    Job(
        "clamp",
        "the defect with clamped ids, no sglang-triage: what clamping costs the draft",
        ("plain",),
        defects={"clamp": True},
        observers=("drafts",),
    ),
    Job(
        "dummy-target",
        "the exchange on SGLang's dummy weights: how few tokens it changes there",
        ("plain", "plain_wrong"),
        defects={EXCHANGE: False},
        model="dummy",
        mtp=False,
    ),
    *(
        Job(
            f"start-{mode}-{turn}",
            "how long a start takes, with and without sglang-triage, four beside each other",
            (),
            env=env,
            observers=(),
            least_s=75.0,
        )
        for turn in (1, 2)
        for mode, env in (("off", {}), ("default", DEFAULT))
    ),
)
