"""Named workloads. Sizes are those of a server that crashed, or the same ratios made smaller.

`gemma4-e4b-summarisation` is the workload that crashed: 80 requests of 8k in and
1k out, 64 at a time, on the pools of Gemma-4-E4B. Dividing page size, window and
lengths by one number, and batch and pool pages by another, leaves pool pressure,
window share and the number of pages per request as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from triage.errors import LabError, did_you_mean
from triage.lab.geometry import Geometry

BACKENDS = ("trtllm_mha", "triton", "fa3", "flashinfer")
"""Attention backends of SGLang whose metadata the lab builds."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One workload. Lengths in tokens; `chunk` bounds one prefill forward.

    draft: "frozen" (frozen-KV MTP), "eagle" (a draft that owns its pool), "ngram" (no model:
        the target verifies what a corpus says) or "none".
    keeps_rejected: slots of rejected tokens stay with the request and are used
        again, as SGLang's second speculative worker does; else their pages are freed.
    cache: "" for the pool driver; "swa-radix", "unified" or "chunk" for SGLang's own
        ScheduleBatch over that cache (`schedule_batch.py`), without a draft.
    graphs: the target's decode and verify get a captured graph's padded inputs (`graph.py`),
        with trtllm_mha.
    backend: whose metadata is built, one of BACKENDS.
    queued: a step is queued before the result of the last is looked at, and what that frees
        lands inside the queued forward, as under SGLang's overlap schedule (`drivers/`).
    fp8: keys and values are stored as float8_e4m3fn: trtllm_mha's own fused store as on sm_90
        (XQA), where queries stay as they are; the other backends through the pool's method.
    """

    name: str
    what: str
    geometry: Geometry
    requests: int
    concurrency: int
    prompt_tokens: int
    output_tokens: int
    chunk: int
    draft_tokens: int = 4
    draft_steps: int = 3
    mean_accept: float = 2.1
    draft: str = "frozen"
    keeps_rejected: bool = False
    cache: str = ""
    backend: str = "trtllm_mha"
    graphs: bool = False
    queued: bool = False
    fp8: bool = False

    @property
    def tokens_per_step(self) -> int:
        """Slots a row may take in one decode step."""
        if self.draft == "none":
            return 1
        return 2 * self.draft_tokens if self.keeps_rejected else self.draft_tokens


@dataclass(frozen=True, slots=True)
class Model:
    """What of a served model decides addresses, and its pools in pages of 64 tokens."""

    swa_pages: int
    full_pages: int
    window: int
    num_layers: int
    kv_shared_layers: int


E4B = Model(8657, round(8657 / 0.8), window=512, num_layers=42, kv_shared_layers=18)
A4B_26B = Model(475_164 // 64, 593_956 // 64, window=1024, num_layers=30, kv_shared_layers=0)


def _summarisation(
    model: Model, name: str, what: str, *, rows: int = 1, lengths: int = 1
) -> Scenario:
    """80 requests of 8k in / 1k out, batch and pools divided by `rows`, tokens by `lengths`."""
    concurrency = 64 // rows
    return Scenario(
        name=name,
        what=what,
        geometry=Geometry(
            page_size=64 // lengths,
            swa_pages=model.swa_pages // rows,
            full_pages=model.full_pages // rows,
            window=model.window // lengths,
            num_layers=model.num_layers,
            full_every=6,
            kv_shared_layers=model.kv_shared_layers,
            context_len=9216 // lengths,
            max_requests=concurrency,
        ),
        requests=80 // rows,
        concurrency=concurrency,
        prompt_tokens=8192 // lengths,
        output_tokens=1000 // lengths,
        chunk=8192 // lengths,
    )


_SMOKE = Scenario(
    name="smoke",
    what="Twelve layers, eight short requests: every lifecycle event in about two seconds",
    geometry=Geometry(
        page_size=16,
        swa_pages=34,
        full_pages=43,
        window=48,
        num_layers=12,
        full_every=6,
        kv_shared_layers=4,
        context_len=256,
        max_requests=4,
    ),
    requests=8,
    concurrency=4,
    prompt_tokens=96,
    output_tokens=40,
    chunk=64,
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        _SMOKE,
        replace(
            _SMOKE,
            name="smoke-eagle",
            what="The same with an EAGLE draft, which has keys and values of its own",
            draft="eagle",
        ),
        replace(
            _SMOKE,
            name="smoke-plain",
            what="The same without a draft",
            draft="none",
        ),
        _summarisation(
            E4B,
            "gemma4-e4b-summarisation",
            "Gemma-4-E4B, 8k in / 1k out: lengths and page a quarter, batch and pools an eighth",
            rows=8,
            lengths=4,
        ),
        _summarisation(
            E4B,
            "gemma4-e4b-summarisation-full",
            "Gemma-4-E4B, 80 requests 8k in / 1k out, concurrency 64, full size",
        ),
        _summarisation(
            A4B_26B,
            "gemma4-26b-summarisation",
            "Gemma-4-26B-A4B, 8k in / 1k out: lengths a quarter, batch and pools an eighth",
            rows=8,
            lengths=4,
        ),
    )
}


def find(name: str) -> Scenario:
    """The scenario called `name`, or LabError with the list of known ones."""
    if name not in SCENARIOS:
        raise LabError(
            f"no scenario {name!r}{did_you_mean(name, SCENARIOS)}; known: {', '.join(SCENARIOS)}"
        )
    return SCENARIOS[name]


def with_backend(scenario: Scenario, backend: str, reinject: str | None = None) -> Scenario:
    """`scenario` over another backend, or LabError for what no server runs or nothing shows."""
    if backend == "fa3" and scenario.draft == "frozen":
        raise LabError(
            "fa3 with a frozen-KV draft is served by no SGLang (Gemma-4 takes trtllm_mha or "
            "triton); choose a scenario with an EAGLE draft or none: smoke-eagle, smoke-plain"
        )
    if backend == "flashinfer" and scenario.draft not in ("none", "ngram"):
        raise LabError(
            "the lab drives flashinfer without a draft: its verification takes SGLang's own "
            "EagleVerifyInput; choose smoke-plain"
        )
    if reinject == "full-ids-in-window" and backend == "trtllm_mha":
        raise LabError(
            "full-ids-in-window is a defect of the Triton, FA3 and FlashInfer builders; add "
            "--backend triton or fa3, or put stale-swa-state back"
        )
    return replace(scenario, backend=backend)


def shortened(scenario: Scenario, requests: int | None) -> Scenario:
    return scenario if requests is None else replace(scenario, requests=requests)
