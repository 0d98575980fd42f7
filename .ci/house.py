"""How the code is built, in figures, and what it offers, so that nothing gets lost in a move.

`python .ci/house.py [TREE] [--json FILE] [--tests]` reads a checkout (this one if
none is named): imports between rooms, circles, loose modules, sizes; commands with their
options, environment variables, lab scenarios, bugs, and with `--tests` the test ids.
`python .ci/house.py --compare BEFORE.json AFTER.json` lists what differs.

A room is a folder right under a package; a module beside the rooms is loose.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

PACKAGES = ("triage", "triage_kernels")
ROOT = Path(__file__).parents[1]


def room_of(module: str) -> str:
    """The room of a module by its dotted name; a loose module is a room of its own."""
    return ".".join(module.split(".")[:2])


def structure() -> dict[str, Any]:
    """Arrows, circles and loose modules of the packages that this process imports."""
    import grimp

    graph = grimp.build_graph(*PACKAGES)
    modules = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    folders = {module for module in modules if graph.find_children(module)}
    arrows = {
        (room_of(module), room_of(other))
        for module, imported in modules.items()
        for other in imported
        if room_of(module) != room_of(other)
    }
    by_room: dict[str, set[str]] = {}
    for module, other in arrows:
        by_room.setdefault(module, set()).add(other)
    loose = [name for name in modules if name.count(".") == 1 and name not in folders]
    return {
        "modules": len(modules),
        "arrows between modules": sum(len(imported) for imported in modules.values()),
        "arrows between rooms": len(arrows),
        "circles of modules": circles(modules),
        "circles of rooms": circles(by_room),
        "loose modules": {
            package: sorted(name for name in loose if name.startswith(f"{package}."))
            for package in PACKAGES
        },
        "rooms": sorted({room_of(name) for name in folders if "." in name}),
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other, sorted. Tarjan's algorithm, without recursion."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in sorted(graph):
        work: list[tuple[str, list[str]]] = []
        if start not in order:
            order[start] = low[start] = len(order)
            stack.append(start)
            work.append((start, sorted(graph.get(start, ()))))
        while work:
            node, rest = work[-1]
            if rest:
                other = rest.pop()
                if other not in order:
                    order[other] = low[other] = len(order)
                    stack.append(other)
                    work.append((other, sorted(graph.get(other, ()))))
                elif other in stack:
                    low[node] = min(low[node], order[other])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == order[node]:
                group = stack[stack.index(node) :]
                del stack[stack.index(node) :]
                if len(group) > 1:
                    found.append(sorted(group))
    return sorted(found)


def sizes(tree: Path) -> dict[str, Any]:
    """Lines of the product's files, empty ones included."""
    folders = [tree / "triage", tree / "kernels" / "triage_kernels"]
    lines = {
        str(path.relative_to(tree)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in folders
        for path in folder.rglob("*.py")
    }
    largest = Counter(lines).most_common(5)
    return {
        "files": len(lines),
        "lines": sum(lines.values()),
        "median file": statistics.median(n for n in lines.values() if n > 1),
        "largest files": [f"{name} {count}" for name, count in largest],
        "files over 300 lines": sum(count > 300 for count in lines.values()),
    }


def offered() -> dict[str, list[str]]:
    """What a user can name: commands with their options, variables, scenarios, bugs."""
    import click

    from triage import config
    from triage.cli import main
    from triage.lab.bugs import CATALOGUE
    from triage.lab.scenarios import SCENARIOS

    commands: list[str] = []

    def walk(command: click.Command, name: str) -> None:
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                commands.append(f"{name} {'/'.join(parameter.opts)}")
            else:
                commands.append(f"{name} {parameter.make_metavar(click.Context(command))}")
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                walk(found, f"{name} {child}")
        elif not command.params:
            commands.append(name)

    walk(main, "triage")
    return {
        "commands": sorted(commands),
        "variables": sorted(config._FOR_USERS),
        "scenarios": sorted(SCENARIOS),
        "bugs": sorted(CATALOGUE),
    }


def test_ids(tree: Path) -> list[str]:
    """Every test that pytest collects in `tree`."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    return sorted(line for line in done.stdout.splitlines() if "::" in line)


def measure(tree: Path, tests: bool) -> dict[str, Any]:
    """All of it, for a checkout whose packages come first on this process's path."""
    found: dict[str, Any] = {"structure": structure(), "sizes": sizes(tree), "offered": offered()}
    if tests:
        found["tests"] = test_ids(tree)
    return found


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Markdown: each figure before and after, then what is gone and what is new."""
    lines = ["| | before | after |", "|---|---|---|"]
    for part in ("structure", "sizes"):
        for name, value in before[part].items():
            lines.append(f"| {name} | {_short(value)} | {_short(after[part].get(name))} |")
    both = {**before["offered"], "tests": before.get("tests", [])}
    for kind, names in both.items():
        now = after.get("tests", []) if kind == "tests" else after["offered"][kind]
        gone, new = sorted(set(names) - set(now)), sorted(set(now) - set(names))
        lines += ["", f"{kind}: {len(names)} before, {len(now)} after, {len(gone)} gone", ""]
        lines += [f"- gone: `{name}`" for name in gone]
        lines += [f"- new: `{name}`" for name in new] if kind != "tests" else []
    return lines


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {len(items)}" for name, items in value.items())
    if isinstance(value, list):
        if value and isinstance(value[0], str) and value[0][-1].isdigit():
            return "; ".join(value[:2])
        return str(len(value))
    return str(value)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--tests", action="store_true", help="collect the test ids as well")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.compare:
        before, after = (json.loads(path.read_text()) for path in asked.compare)
        print("\n".join(compare(before, after)))
        return
    tree = asked.tree.resolve()
    if not asked.inside:  # the packages of that checkout, in a process of its own
        path = f"{tree}{os.pathsep}{tree / 'kernels'}"
        command = [sys.executable, __file__, *arguments, "--inside"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path})
        raise SystemExit(done.returncode)
    found = measure(tree, asked.tests)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"wrote {asked.json}")
    else:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
