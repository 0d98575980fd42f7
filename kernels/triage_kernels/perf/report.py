"""Compilations and measurements as text, tables and pictures. Renders records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from triage_kernels.perf.aot import Compiled
from triage_kernels.perf.bench import Measurement


def compiled_text(compiled: Compiled) -> str:
    state = "clean" if compiled.clean else compiled.complaint()
    return (
        f"{compiled.op:34} {compiled.case:27} sm_{compiled.arch:<4} {compiled.dtype:9}"
        f"warps {compiled.num_warps:2}  registers {compiled.registers:3}  "
        f"shared {compiled.shared_bytes:6}  spills {compiled.spills:3}  "
        f"widest load {compiled.widest_load:2}  {state}"
    )


def compiled_markdown(results: Sequence[Compiled]) -> str:
    """One row per op: how many were compiled, and the range of what they take."""
    lines = [
        "| kernel | compiled | registers | shared bytes | spills, fp64, local |",
        "|---|---|---|---|---|",
    ]
    for op in dict.fromkeys(compiled.op for compiled in results):
        of_op = [compiled for compiled in results if compiled.op == op]
        registers = [compiled.registers for compiled in of_op]
        shared = max(compiled.shared_bytes for compiled in of_op)
        dirty = sum(not compiled.clean for compiled in of_op)
        lines.append(
            f"| {op} | {len(of_op)} | {min(registers)} to {max(registers)} | up to {shared} | "
            f"{f'in {dirty}' if dirty else 'none'} |"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def bench_text(m: Measurement) -> str:
    if m.microseconds is None:
        return f"{m.op:34} {m.case:26} M={m.rows:<6} {m.contender:15} absent: {m.note}"
    parts = [
        f"{m.op:34} {m.case:26} M={m.rows:<6} {m.contender:15}",
        f"{m.microseconds:9.2f} us",
        _number(m.gb_per_s, "7.0f") + (" GB/s" if m.gb_per_s else ""),
        _number(m.of_copy, "6.1%") + (" of copy" if m.of_copy else ""),
        _number(m.over_empty, "+7.2f") + (" us over empty" if m.over_empty is not None else ""),
        f"{m.generated_kernels} kernels" if m.generated_kernels else "",
    ]
    return " ".join(p for p in parts if p)


def shape_text(shape: Mapping[str, Measurement]) -> str:
    """Ours on one shape, beside the copy, the empty kernel and torch.compile, in a line.

    `shape` maps contenders to their measurements of one op, case and row count.
    """
    ours = shape.get("ours")
    if ours is None or ours.microseconds is None:
        return ""
    parts = [f"{'=> ' + ours.op:37} {ours.case:26} M={ours.rows:<6} {ours.microseconds:9.2f} us"]
    copy, chain, empty, compiled = (shape.get(n) for n in ("copy", "chain", "empty", "compile"))
    if ours.gb_per_s is not None:
        parts.append(f"{ours.gb_per_s:.0f} GB/s")
    if copy and copy.microseconds and ours.of_copy is not None:
        parts.append(f"{ours.of_copy:.1%} of a copy's {copy.microseconds:.2f} us")
    if chain and chain.microseconds and ours.over_empty is not None:
        ratio = ours.microseconds / chain.microseconds
        parts.append(f"{ratio:.2f} x the chain's {chain.microseconds:.2f} us")
    if empty and empty.microseconds:
        ratio = ours.microseconds / empty.microseconds
        parts.append(f"{ratio:.2f} x the empty kernel's {empty.microseconds:.2f} us")
    if compiled and compiled.microseconds:
        ratio, made = compiled.microseconds / ours.microseconds, compiled.generated_kernels
        parts.append(
            f"torch.compile {compiled.microseconds:.2f} us in {made} kernels ({ratio:.2f} x ours)"
        )
    return ", ".join(parts)


def by_shape(
    measurements: Iterable[Measurement],
) -> dict[tuple[str, str, int], dict[str, Measurement]]:
    """(op, case, rows) -> contender -> its latest measurement."""
    shapes: dict[tuple[str, str, int], dict[str, Measurement]] = {}
    for m in measurements:
        shapes.setdefault((m.op, m.case, m.rows), {})[m.contender] = m
    return shapes


def latest_shape(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """The shape that was measured last."""
    return by_shape(measurements)[measurements[-1].key[:3]]


def bench_markdown(measurements: Sequence[Measurement]) -> str:
    """A table: a line per op and shape, a column per contender."""
    contenders = list(dict.fromkeys(m.contender for m in measurements if m.microseconds))
    lines = [
        f"| op | case | M | {' | '.join(f'{c} us' for c in contenders)} "
        "| ours GB/s | ours of copy | compiled to kernels |",
        f"|---|---|---|{'---|' * (len(contenders) + 3)}",
    ]
    for (op, case, rows), by_name in by_shape(measurements).items():
        times = (by_name.get(c) for c in contenders)
        cells = " | ".join("" if m is None else _number(m.microseconds, ".2f") for m in times)
        ours = by_name.get("ours")
        rate = "" if ours is None else _number(ours.gb_per_s, ".0f")
        share = "" if ours is None else _number(ours.of_copy, ".1%")
        compiled = by_name.get("compile")
        made = "" if compiled is None else _number(compiled.generated_kernels, "d")
        lines.append(f"| {op} | {case} | {rows} | {cells} | {rate} | {share} | {made} |")
    return "\n".join(lines) + "\n"


def bench_plot(measurements: Sequence[Measurement], path: Path) -> None:
    """Share of the copy's bandwidth per op, and microseconds over an empty kernel, as one PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(12, 10))
    colours = {"ours": "C0", "compile": "C1", "eager": "C2", "sglang": "C3", "sglang-unfused": "C4"}
    wide = [m for m in measurements if m.of_copy is not None and m.contender in colours]
    few = [m for m in measurements if m.over_empty is not None and m.contender in colours]
    for axis, chosen, value, title in (
        (axes[0], wide, "of_copy", "share of the copy's bandwidth, most rows"),
        (axes[1], few, "over_empty", "microseconds over an empty kernel, fewest rows"),
    ):
        if not chosen:
            axis.set_visible(False)
            continue
        edge = (max if value == "of_copy" else min)(m.rows for m in chosen)
        chosen = [m for m in chosen if m.rows == edge]
        labels = list(dict.fromkeys(f"{m.op}\n{m.case}" for m in chosen))
        names = list(dict.fromkeys(m.contender for m in chosen))
        for offset, name in enumerate(names):
            points = {f"{m.op}\n{m.case}": getattr(m, value) for m in chosen if m.contender == name}
            at = [labels.index(label) + offset * 0.8 / len(names) for label in points]
            axis.bar(at, list(points.values()), 0.8 / len(names), label=name, color=colours[name])
        axis.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=6)
        axis.set_title(f"{title} (M = {edge})")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
