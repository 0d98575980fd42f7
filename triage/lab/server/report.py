"""The terminal's view of what was served."""

from __future__ import annotations

from triage.lab.server.result import OUTCOMES, ExplainedDump, Served

_SHOWN_DUMPS = 3
_SHOWN_REMARKS = 6


def text(served: Served) -> str:
    """The outcome first, then the load, what the scheduler did, dumps, and where the log is."""
    lines = [f"{served.shape}: {OUTCOMES[served.outcome]}"]
    if served.death:
        lines.append(f"  the server ended: {served.death}")
    if served.load is not None:
        load = served.load
        counts = f"{load.ok} of {load.requests} {load.kind} requests answered"
        counts += f", {load.aborted} aborted on purpose" if load.aborted else ""
        counts += f", {load.failed} failed" if load.failed else ""
        counts += f", {load.ended} aborted by the server" if load.ended else ""
        counts += f", {load.unsent} not sent or cut off" if load.unsent else ""
        lines.append(f"  load      {counts}")
        lines += [f"            {count} x {error}" for error, count in load.errors.items()]
        if load.seconds:
            lines.append(f"  speed     {load.tokens_per_s:.0f} output tokens/s")
        if load.accept_length is not None:
            lines.append(f"  accepted  {load.accept_length:.2f} tokens a verify step")
        lines.append(f"  answers   sha256 {load.digest[:16]}")
    done = served.activity
    lines.append(
        f"  scheduler {done.prefill_batches} prefill batches ({done.full_chunks} full chunks), "
        f"{done.retractions} retractions; decode log lines {done.graphs} in CUDA graphs, "
        f"{done.eager} eager"
    )
    for dump in served.dumps[:_SHOWN_DUMPS]:
        lines += _dump(dump)
    if len(served.dumps) > _SHOWN_DUMPS:
        lines.append(f"  and {len(served.dumps) - _SHOWN_DUMPS} more dumps")
    lines += [f"  said      {remark[:160]}" for remark in served.remarks[:_SHOWN_REMARKS]]
    lines.append(f"  log       {served.log_path}")
    return "\n".join(lines)


def _dump(dump: ExplainedDump) -> list[str]:
    lines = [f"  dump      {dump.path}"]
    if dump.error:
        return [*lines, f"            cannot be read: {dump.error}"]
    lines.append(f"            {dump.invariant} at {dump.where}: {dump.summary}"[:200])
    lines += [f"            {hand}"[:200] for hand in dump.hands[:1]]
    if not dump.causes:
        return [*lines, "            cause unknown"]
    cause = " or ".join(dump.causes)
    return [*lines, f"            {cause} ({dump.confidence} confidence); try: {dump.fix}"]
