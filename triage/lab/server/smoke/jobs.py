"""What the smoke plays, in order of worth: the first job is the one to have if only one fits.

Every server has frozen-KV MTP, CUDA graphs and overlap scheduling, unless it says otherwise.
`default` means what the README tells a user to type: SGLANG_TRTLLM_MHA_DEBUG=1 alone.
"""

from __future__ import annotations

from triage.lab.server.smoke.rig import Job

DEFAULT = {"SGLANG_TRTLLM_MHA_DEBUG": "1"}
CONTAIN = {**DEFAULT, "SGLANG_TRTLLM_MHA_DEBUG_MODE": "contain"}
FIX = {**CONTAIN, "SGLANG_TRIAGE_FIXES": "state-swap"}
STALE = "stale-swa-state"

JOBS = (
    Job(
        "default",
        "default mode: as without us, no false alarm, and the alarm in the first wrong step",
        ("plain", "mixed:900", f"alarm:{STALE}"),
        env=DEFAULT,
        defects={STALE: False},
    ),
    Job(
        "off",
        "without sglang-triage: what the others are compared with; then the defect's silent form",
        ("plain", "plain_again", "plain_wrong"),
        defects={STALE: False},
        observers=("oracle", "drafts"),
    ),
    Job(
        "contain",
        "contain: the same promises as default mode's",
        ("plain", "mixed:900", f"alarm:{STALE}"),
        env=CONTAIN,
        defects={STALE: False},
    ),
    Job(
        "crash-off",
        "wide SWA pages, no sglang-triage: the real illegal memory access",
        ("crash",),
        defects={"highest-first": True, STALE: False},
        observers=("oracle", "address-map"),
        model="story",
    ),
    Job(
        "crash-default",
        "the same with default mode: an exception, a dump, the cause, before any token leaves",
        (f"alarm:{STALE}",),
        env=DEFAULT,
        defects={"highest-first": True, STALE: False},
        observers=("oracle", "address-map"),
        model="story",
    ),
    Job(
        "fix",
        "the defect from the start, and the fix: as the sound server, draft tokens included",
        ("plain", "mixed:200"),
        env=FIX,
        defects={STALE: True},
        observers=("oracle", "drafts"),
    ),
    Job(
        "target",
        "no draft, default mode: two requests' pages change places in the target's table",
        ("plain", "alarm"),
        env=DEFAULT,
        defects={"page-exchange": False},
        mtp=False,
    ),
    Job(
        "clamp",
        "the defect with clamped ids, no sglang-triage: what clamping costs the draft",
        ("plain",),
        defects={"clamp": True},
        observers=("drafts",),
    ),
    Job(
        "from-start",
        "the defect from the start, default mode: the alarm comes with the first draft",
        (f"alarm:{STALE}",),
        env=DEFAULT,
        defects={STALE: True},
    ),
    Job(
        "eager",
        "no draft, no graphs, default mode: the exception comes before the launch",
        ("plain", "mixed:100", "alarm"),
        env=DEFAULT,
        defects={"page-exchange": False},
        mtp=False,
        flags=("--disable-cuda-graph",),
    ),
)
