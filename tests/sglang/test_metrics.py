"""The traps' counts where SGLang's metrics are: scraped by a real Prometheus, for the dashboard.

The endpoint is SGLang's: the lines of its `add_prometheus_middleware`, served by wsgiref.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, make_wsgi_app, multiprocess
from prometheus_client.parser import text_string_to_metric_families

from triage.sglang.scheduler import metrics as module
from triage.sglang.scheduler.metrics import FAMILIES, Metrics

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs" / "grafana" / "sglang-triage.json"


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def endpoint(directory: Path):
    """`/metrics` over what the processes left in `directory`, as SGLang's HTTP process has it."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(directory))
    server = make_server("127.0.0.1", 0, make_wsgi_app(registry), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


def scraped(port: int) -> dict[tuple[str, str], float]:
    """(family, its own label) -> value."""
    labels = {family.name: family.label for family in FAMILIES}
    return {
        (family.name, sample.labels[labels[family.name]]): sample.value
        for family in text_string_to_metric_families(get(port, "/metrics"))
        if family.name in labels
        for sample in family.samples
    }


def until(ready, seconds: float = 60):
    """The first true answer, asked for again and again: others publish and scrape when they do."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "never came"
        time.sleep(0.1)
    return found


@contextmanager
def prometheus(folder: Path, target: int):
    """The real server, scraping `target` every half second; its port."""
    program = shutil.which("prometheus")
    if program is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("prometheus is not installed: apt-get install prometheus")
    with make_server("127.0.0.1", 0, None) as free:
        port = free.server_port
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {"job_name": "sglang", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield port
        finally:
            server.terminate()
            server.wait(timeout=30)


def query(port: int, expression: str) -> list[dict]:
    asked = urllib.parse.urlencode({"query": expression})
    try:
        return json.loads(get(port, f"/api/v1/query?{asked}"))["data"]["result"]
    except OSError:  # not up yet
        return []


def panels() -> list[tuple[str, str]]:
    """(title, expression) of everything that the dashboard draws."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in found for target in panel["targets"]]


def test_a_real_prometheus_scrapes_the_counts_and_fills_every_panel_of_the_dashboard(tmp_path):
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    # GIVEN a scheduler process with SGLang's metrics on, which has served four requests
    shared, dumps = tmp_path / "shared", tmp_path / "dumps"
    shared.mkdir()
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "tests.sglang.metrics_child", str(dumps)],
        env={**os.environ, module.DIRECTORY: str(shared)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with endpoint(shared) as port, prometheus(tmp_path, port) as server:
            assert scheduler.stdout.readline() == "served\n"
            seen = until(lambda: (found := scraped(port)) and sum(found.values()) and found)
            # THEN the checks are there, and nothing is wrong
            healthy = until(lambda: (f := scraped(port))["sglang_triage_launches", "raise"] and f)
            assert seen.keys() == healthy.keys()
            assert healthy["sglang_triage_checks", "tables"] > 0
            assert healthy["sglang_triage_violations", "I2"] == 0
            assert healthy["sglang_triage_dumps", "yes"] == 0
            until(lambda: query(server, "sglang_triage_violations_total"))
            # WHEN a trap fires and the loop ends
            scheduler.stdin.write("\n")
            scheduler.stdin.flush()
            assert scheduler.stdout.readline() == "trapped\n"
            out, _ = scheduler.communicate("\n", timeout=60)
            # THEN what was counted to its end is scraped, by rank
            counts = eval(out.splitlines()[1], {})
            assert out.splitlines()[0] == "ended"
            found = scraped(port)
            assert found["sglang_triage_violations", "I2"] == counts["violations"] == 1
            assert found["sglang_triage_launches", "raise"] == counts["launches"]
            assert found["sglang_triage_checks", "tables"] == counts["tables"]
            assert found["sglang_triage_dumps", "yes"] == 1 == len(list(dumps.glob("*.msgpack")))
            # AND Prometheus has it, and draws every panel
            fired = 'sglang_triage_violations_total{invariant="I2", rank="3"} == 1'
            until(lambda: query(server, fired))
            assert len(panels()) >= 6
            for title, expression in panels():
                asked = expression.replace("$__rate_interval", "1m").replace("$__range", "5m")
                assert until(lambda asked=asked: query(server, asked), 20), title
    finally:
        scheduler.kill()
        scheduler.communicate()


def test_the_dashboard_asks_for_nothing_that_is_not_published_and_leaves_nothing_out():
    asked = {name for _, expression in panels() for name in re.findall(r"sglang_\w+", expression)}
    assert asked == {f"{family.name}_total" for family in FAMILIES}


# -- harmless ----------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch):
    """A reporter and hot state with counts, and no directory of SGLang's."""
    monkeypatch.delenv(module.DIRECTORY, raising=False)
    reporter = SimpleNamespace(
        counted_here=Counter(launches=5, tables=2, writes=1),
        violations=Counter(I2=1),
        enabled=frozenset({"I1", "I2"}),
        mode="log",
        store=SimpleNamespace(written=1, not_written=0),
        shells=SimpleNamespace(internal_errors=0),
    )
    return Metrics(reporter, SimpleNamespace(repeated=10, relaunched=3))


ON = SimpleNamespace(server_args=SimpleNamespace(enable_metrics=True), tp_rank=0)


def test_reading_the_counts_takes_nothing_from_the_hot_path(fake):
    first, second = fake.values(), fake.values()
    assert first == second
    assert first[module.LAUNCHES, "log"] == 18
    assert first[module.CHECKS, "tables"] == 5
    assert (fake.hot.repeated, fake.hot.relaunched) == (10, 3)
    assert first[module.VIOLATIONS, "I1"] == 0 and first[module.VIOLATIONS, "I2"] == 1


def test_without_sglangs_directory_they_are_read_when_the_registry_is_scraped(fake):
    from prometheus_client import REGISTRY

    name, labels = "sglang_triage_launches_total", {"mode": "log", "rank": "0"}
    with fake.published(ON):
        assert REGISTRY.get_sample_value(name, labels) == 18
        fake.hot.repeated += 1
        assert REGISTRY.get_sample_value(name, labels) == 19
    assert REGISTRY.get_sample_value(name, labels) is None


def test_a_server_without_metrics_has_none_and_imports_nothing_for_them(fake, monkeypatch):
    monkeypatch.setattr(fake, "_start", lambda rank: pytest.fail("started"))
    for scheduler in (SimpleNamespace(), SimpleNamespace(server_args=SimpleNamespace())):
        with fake.published(scheduler):
            pass


@pytest.mark.parametrize("where", ["start", "scrape", "thread", "stop"])
def test_an_error_of_the_metrics_is_told_and_never_reaches_sglang(
    fake, monkeypatch, caplog, tmp_path, where
):
    # GIVEN metrics that fail somewhere
    def broken(*args: object) -> None:
        raise ValueError("broken")

    if where == "start":
        monkeypatch.setattr(fake, "_start", broken)
    elif where == "stop":
        monkeypatch.setattr("prometheus_client.REGISTRY.unregister", broken)
    else:
        monkeypatch.setattr(fake, "values", broken)
    if where == "thread":
        monkeypatch.setenv(module.DIRECTORY, str(tmp_path))
        monkeypatch.setattr("prometheus_client.Counter", lambda *_: None)
    # WHEN SGLang's loop runs inside them
    with caplog.at_level(logging.ERROR, "triage"), fake.published(ON):
        from prometheus_client import REGISTRY, generate_latest

        assert b"python_info" in generate_latest(REGISTRY)
    # THEN it does, its own metrics too, and the log says what is missing
    assert "its metrics are not published (any more): ValueError" in caplog.text
    monkeypatch.undo()
    for collector in [each for each in REGISTRY._collector_to_names if _ours(each)]:
        REGISTRY.unregister(collector)


def _ours(collector: object) -> bool:
    return isinstance(collector, module.Collector)


def test_what_the_loop_raises_goes_on_unchanged(fake):
    with pytest.raises(KeyError, match="sglang's own"), fake.published(ON):
        raise KeyError("sglang's own")
