"""What one run says: throughput, latency, accept length."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from triage.fleet.journal import Journal


@dataclass(frozen=True, slots=True)
class Summary:
    """Times in seconds or milliseconds as named; None where no request could tell.

    duration_s: of all segments of the run together, so of a resumed run too.
    """

    label: str
    workload: str
    requests: int
    errors: int
    duration_s: float
    output_tok_s: float
    total_tok_s: float
    ttft_ms: float | None
    ttft_p99_ms: float | None
    tpot_ms: float | None
    tpot_p99_ms: float | None
    accept_length: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(journal: Journal) -> Summary:
    good = [answer for answer in journal.answers.values() if not answer.error]
    duration = sum(float(segment["seconds"]) for segment in journal.segments)
    if not journal.segments:  # killed before its end: what its answers show
        answers = journal.answers.values()
        duration = max((a.started_s + a.duration_s for a in answers), default=0.0)
    produced = sum(answer.completion_tokens for answer in good)
    read = sum(answer.prompt_tokens for answer in good)
    ttft = [answer.ttft_s for answer in good if answer.ttft_s is not None]
    tpot = [answer.tpot_s for answer in good if answer.tpot_s is not None]
    accepted = [s["accept_length"] for s in journal.segments if s.get("accept_length")]
    return Summary(
        label=str(journal.header.get("label") or journal.path.stem),
        workload=str(journal.header.get("workload", "")),
        requests=len(good),
        errors=len(journal.answers) - len(good),
        duration_s=duration,
        output_tok_s=produced / duration if duration else 0.0,
        total_tok_s=(produced + read) / duration if duration else 0.0,
        ttft_ms=_ms(ttft, 50),
        ttft_p99_ms=_ms(ttft, 99),
        tpot_ms=_ms(tpot, 50),
        tpot_p99_ms=_ms(tpot, 99),
        accept_length=accepted[-1] if accepted else None,
    )


def _ms(seconds: list[float], percentile: float) -> float | None:
    return float(np.percentile(seconds, percentile)) * 1e3 if seconds else None


def text_of(summary: Summary) -> str:
    accept = "not reported" if summary.accept_length is None else f"{summary.accept_length:.2f}"
    return (
        f"{summary.label}: workload {summary.workload}, {summary.requests} answers, "
        f"{summary.errors} errors, {summary.duration_s:.3f} s\n"
        f"  output {summary.output_tok_s:.1f} tok/s, total {summary.total_tok_s:.1f} tok/s, "
        f"accept length {accept}\n"
        f"  TTFT {_shown(summary.ttft_ms)} ms median, {_shown(summary.ttft_p99_ms)} p99; "
        f"TPOT {_shown(summary.tpot_ms)} ms median, {_shown(summary.tpot_p99_ms)} p99"
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
