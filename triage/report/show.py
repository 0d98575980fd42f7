"""The terminal view of a dump's summary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from triage.evidence import PageEvent
from triage.files.text import console as make_console
from triage.report.facts import launch_pairs, shown
from triage.report.text import line


def print_summary(summary: dict[str, Any], title: str) -> None:
    console = make_console()
    fault = summary["fault"]
    console.rule(line(title))
    reported = "a fault that other tools reported" if summary["reported"] else ""
    kind = fault["facts"].get("kind") or reported or "no fault: a snapshot"
    invariant = fault["invariant"] or kind
    console.print(line(invariant, style="bold red") + line(f"  {fault['summary']}"))
    console.print(line(_place(fault), style="dim"))
    for violation in fault["violations"]:
        console.print(line(f"  {_violation(violation)}"))
    for known in fault["pages"]:
        console.print(line(f"  page {known['page']} of the {known['pool']} pool:"))
        for event in known["events"]:
            console.print(line(f"    {PageEvent(**event).sentence()}"))
    for report in summary["reported"]:
        console.print(line(f"  {_report(report)}", style="bold yellow"))
    for sentence in summary["observed"]:
        console.print(line(f"  {sentence}", style="yellow"))
    if summary["launch"]:
        console.print(_pairs("launch", launch_pairs(summary["launch"])))
        if summary["launch"]["tensors"]:
            console.print(_tensor_table(summary["launch"]["tensors"]))
    if summary["pools"]:
        console.print(_pool_table(summary["pools"]))
    if summary["rows"]:
        if summary["tables_from"]:
            console.print(line(f"tables from {summary['tables_from']}"))
        console.print(_row_table(summary["rows"], summary["rows_total"]))
    if summary["backend"]:
        console.print(_pairs("backend", summary["backend"].items()))
    if summary["provenance"]:
        console.print(_pairs("provenance", summary["provenance"].items()))
    if summary["kv"]:
        console.print(_pairs("kv", summary["kv"].items()))
    if summary["history_total"]:
        console.print(line(f"history: {summary['since']} (show --history lists them)"))
    for name, size in summary["unknown_sections"].items():
        console.print(line(f"section {name}: {size} bytes, not known to this version"))


def print_history(summary: dict[str, Any], title: str) -> None:
    """The launches of the flight recorder, oldest first; those that were wrong marked."""
    console = make_console()
    console.rule(line(title))
    console.print(line(summary["since"] or "the dump holds no history"))
    table = Table(box=None, pad_edge=False)
    for heading in ("launch", "step", "space", "layer", "role", "mode", "graph", "rows", "longest"):
        table.add_column(heading, justify="left" if heading in ("role", "mode") else "right")
    table.add_column("newly wrong", justify="right")
    table.add_column("", overflow="fold")
    for each in summary["history"]:
        launch = each["sequence"] if each["check"] is None else each["check"]
        place = (launch, each["step"], each["space"], each["layer_id"], each["role"])
        batch = (each["forward_mode"], each["graph"] or "eager", each["rows"], each["longest"])
        note = "torn" if each["torn"] else "stale SWA state" if each["stale"] else ""
        cells = [shown(value) for value in (*place, *batch, each["fresh"], note)]
        table.add_row(*map(line, cells), style="bold red" if each["fresh"] else None)
    console.print(table)


def _report(report: dict[str, Any]) -> str:
    """One thing that another tool saw, beside this launch."""
    kernel = f" in {report['kernel'][:96]}" if report["kernel"] else ""
    says = "; ".join(report["sentences"])
    return f"{report['form']}: {report['failure']}{kernel}" + (f"; {says}" if says else "")


def _place(fault: dict[str, Any]) -> str:
    parts = [fault["where"], fault["forward_mode"]]
    if fault["layer_id"] is not None:
        parts.append(f"layer {fault['layer_id']}")
    if fault["pool"]:
        parts.append(f"{fault['pool']} pool")
    if fault["total"]:
        parts.append(f"{fault['total']} entries in {fault['rows_affected']} rows")
    return ", ".join(part for part in parts if part)


def _violation(violation: dict[str, Any]) -> str:
    text = (
        f"{violation['tensor']}[{violation['row']}, {violation['column']}] = {violation['value']}, "
        f"legal [{violation['low']}, {violation['high']})"
    )
    if violation["expected"] is not None:
        text += f", expected {violation['expected']}"
    if violation["request_id"]:
        text += f", request {violation['req_pool_index']} (id {violation['request_id']})"
    return text


def _pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(line(f"  {name}"), line(shown(value)))
    return table


def _tensor_table(tensors: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="tensors", title_justify="left", box=None, pad_edge=False)
    for heading in ("  name", "dtype", "shape", "stride", "offset", "device"):
        table.add_column(heading, overflow="fold")
    for name, facts in tensors.items():
        cells = (
            f"  {name}",
            facts["dtype"],
            shown(facts["shape"]),
            shown(facts["stride"]),
            str(facts["storage_offset"]),
            facts["device"],
        )
        table.add_row(*map(line, cells))
    return table


def _pool_table(pools: dict[str, Any]) -> Table:
    title = f"pools (the launch reads {pools['read']!r}"
    title += (
        f", the backend builds tables for {pools['table_space']!r})"
        if pools["table_space"]
        else ")"
    )
    table = Table(title=line(title), title_justify="left", box=None, pad_edge=False)
    for heading in ("  name", "kind"):
        table.add_column(heading)
    for heading in ("slots", "page size", "pages", "free slots"):
        table.add_column(heading, justify="right")
    for pool in pools["pools"]:
        cells = (
            f"  {pool['name']}",
            pool["kind"],
            str(pool["size"]),
            str(pool["page_size"]),
            str(pool["num_pages"]),
            shown(pool["available"]),
        )
        mismatch = pool["name"] == pools["read"] and pools["table_space"] not in ("", pools["read"])
        table.add_row(*map(line, cells), style="bold red" if mismatch else None)
    return table


def _row_table(rows: list[dict[str, Any]], total: int) -> Table:
    title = (
        f"block_tables, {len(rows)} of {total} rows (column:id, !outside, ~wrong page (right id))"
    )
    if len(rows) < total:
        title += f"; -v --rows {total} lists all"
    table = Table(title=line(title), title_justify="left", box=None, pad_edge=False)
    for heading in ("  row", "request", "length", "visible", "bad"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("entries", overflow="fold")
    for row in rows:
        low, high = row["visible_columns"]
        label = f"{row['row']}{' pad' if row['padding'] else ''}"
        entries = Text(" ").join(_entry(entry) for entry in row["entries"])
        left = row["entries_total"] - len(row["entries"])
        if left:
            entries.append_text(line(f" and {left} more"))
        cells = (
            label,
            _request(row),
            str(row["length"]),
            f"{low}..{high - 1}",
            str(row["bad"]),
        )
        table.add_row(*map(line, cells), entries)
    return table


def _request(row: dict[str, Any]) -> str:
    return f"{shown(row['request'])} {row['request_id']}".rstrip()


def _entry(entry: dict[str, Any]) -> Text:
    text = f"{entry['column']}:{entry['value']}"
    expected = "" if entry["expected"] is None else f"({entry['expected']})"
    if entry["outside"]:
        return line(f"!{text}{expected}", style="bold red")
    if entry["wrong"]:
        return line(f"~{text}{expected}", style="yellow")
    return line(text)
