"""A ranking as a table for a terminal and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator

from triage.fusions.ranking import Ranking

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Fusions</title>
<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #bbb;padding:.3em .6em;text-align:right}
td:first-child,th:first-child,.t{text-align:left}</style>
<h1>What fusing would save</h1>
<p>{{ r.files | length }} file(s), {{ r.layers }} layer(s) ({{ r.layers_from }}). Per layer;
bytes of one launch: every input read once, every output written once.</p>
<table><tr><th>pattern</th><th>launches captured</th><th>SGLang's chain</th><th>eager</th>
<th>bytes captured</th><th>SGLang's chain</th><th>eager</th><th>one launch</th>
<th>saves launches</th><th>saves bytes</th><th class="t">SGLang has</th><th class="t">we have</th>
<th class="t">kernels</th></tr>
{% for p in r.patterns %}<tr><td title="{{ p.what }}">{{ p.pattern }}</td>
<td>{{ p.captured_launches }}</td><td>{{ p.chain_launches }}</td>
<td>{{ p.eager_launches or "" }}</td>
<td>{{ p.captured_bytes }}</td><td>{{ p.chain_bytes }}</td><td>{{ p.eager_bytes or "" }}</td>
<td>{{ p.one_launch_bytes }}</td><td>{{ p.saved_launches }}</td><td>{{ p.saved_bytes }}</td>
<td class="t">{{ p.sglang }}</td><td class="t">{{ p.ours }}</td>
<td class="t">{{ p.kernels | join(", ") }}</td></tr>{% endfor %}</table>
<h2>Generated kernels</h2>
<table><tr><th>kernel</th><th class="t">pattern</th><th>per layer</th><th>reads bytes</th>
<th>writes bytes</th><th>operations</th><th class="t">fused from</th></tr>
{% for k in r.kernels %}<tr><td>{{ k.kernel }}</td><td class="t">{{ k.pattern }}</td>
<td>{{ k.per_layer }}</td><td>{{ k.reads_bytes }}</td><td>{{ k.writes_bytes }}</td>
<td>{{ k.operations or "" }}</td><td class="t">{{ k.origins | join(", ") }}</td></tr>{% endfor %}
</table>
<h2>Calls of outside kernels</h2>
<table><tr><th>kernel</th><th>calls</th></tr>
{% for name, calls in r.externs.items() %}<tr><td>{{ name }}</td><td>{{ calls }}</td></tr>
{% endfor %}</table></html>
"""


def html(ranking: Ranking) -> str:
    """The ranking as a page; names out of the capture are escaped."""
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_PAGE).render(r=ranking)


def lines(ranking: Ranking) -> Iterator[str]:
    """The ranking as text: patterns, then kernels, then calls of outside kernels."""
    layers = f"{ranking.layers} layer(s) ({ranking.layers_from})"
    yield f"{len(ranking.files)} file(s), {layers}; launches and bytes per layer"
    yield (
        f"{'pattern':22} {'launches':>8} {'chain':>5} {'eager':>5} {'bytes':>10} {'chain':>10} "
        f"{'one launch':>10} {'saves':>5} {'saves bytes':>11}  ours"
    )
    for p in ranking.patterns:
        yield (
            f"{p.pattern:22} {p.captured_launches:8.3g} {p.chain_launches:5} "
            f"{p.eager_launches or '':>5} {p.captured_bytes:10} {p.chain_bytes:10} "
            f"{p.one_launch_bytes:10} {p.saved_launches:5} {p.saved_bytes:11}  {p.ours or '-'}"
        )
    yield ""
    yield f"{'per layer':>9} {'reads':>10} {'writes':>10}  {'pattern':22} kernel (fused from)"
    for k in ranking.kernels:
        unknown = f" [{k.unknown_arguments} of unknown size]" if k.unknown_arguments else ""
        origins = ", ".join(dict.fromkeys(o.rpartition(".")[2] for o in k.origins))
        yield (
            f"{k.per_layer:9.3g} {k.reads_bytes:10} {k.writes_bytes:10}  {k.pattern:22} "
            f"{k.kernel} ({origins}){unknown}"
        )
    for name, calls in ranking.externs.items():
        yield f"{calls / ranking.layers:9.3g} {'':10} {'':10}  {'outside':22} {name}"
