"""The pool arithmetic against the sizes that the servers which crashed had printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from triage.bench import pools_table
from triage.cli import main
from triage.fleet import pool_log
from triage.fleet.pool_sizes import (
    Model,
    PoolError,
    Workload,
    best_ratio,
    model_of,
    parse_bytes,
    pools_at,
)

CONFIGS = Path(__file__).parents[2] / "repros" / "configs"
ONE = Workload(1, 1)


def model(name: str) -> Model:
    return model_of(json.loads((CONFIGS / f"{name}.json").read_text()))


def test_26b_at_the_default_and_at_015_has_the_published_pools():
    a4b = model("gemma4-26b-a4b")
    # 593,956 tokens at ratio 0.8, so the memory is known up to one token's bytes
    token = a4b.full_token_bytes + 0.8 * a4b.swa_token_bytes
    memory = int(593_956 * token)
    at_default = pools_at(a4b, memory, 0.8, ONE)
    assert (at_default.full_tokens, at_default.swa_tokens) == (593_956, 475_164)
    small = pools_at(a4b, memory, 0.15, ONE)
    assert 2_138_243 - small.full_tokens in range(4)  # published, less what one token hides
    assert small.swa_tokens == 320_736


def test_31b_with_pages_of_64_has_the_published_pools_and_saturates_at_015():
    dense = model("gemma4-31b")
    memory = int(132_992 * (dense.full_token_bytes + 0.8 * dense.swa_token_bytes))
    at_default = pools_at(dense, memory, 0.8, ONE, page_size=64)
    assert (at_default.full_tokens, at_default.swa_tokens) == (132_992, 106_368)
    small = pools_at(dense, memory, 0.15, Workload(1024, 1024), page_size=64)
    # 71,808 was published; the memory is known to one page of 0.8-ratio tokens
    assert abs(small.swa_tokens - 71_808) <= 64
    assert small.limited_by == "SWA pool"
    assert (
        small.requests_kept < 40 <= pools_at(dense, memory, 0.8, Workload(1024, 1024), 64).requests
    )


def test_layers_that_share_keys_have_a_pool_as_sglang_gives_them():
    e4b = model("gemma4-e4b")
    assert (e4b.full_layers, e4b.swa_layers) == (7, 35)


sizes = st.integers(1, 20_000)


@given(sizes, sizes, st.sampled_from([1, 16, 64]), st.floats(0.01, 1))
def test_no_ratio_admits_more_than_the_best_but_for_rounding(
    input_tokens, output_tokens, page, other
):
    a4b, workload = model("gemma4-26b-a4b"), Workload(input_tokens, output_tokens, 4)
    memory = 2**40
    best = pools_at(a4b, memory, best_ratio(a4b, workload, page), workload, page)
    elsewhere = pools_at(a4b, memory, other, workload, page)
    # the best ratio is rounded up to three digits, which costs at most that share
    assert best.requests >= elsewhere.requests * 0.98 - 2


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 2**30), ("1.5GB", 1_500_000_000), ("4096", 4096), ("2MiB", 2**21)]
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "GiB", "-1GiB", "0", "nan", "inf"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(PoolError, match=r"write 101\.9GiB") as caught:
        parse_bytes(text)
    assert repr(text) in str(caught.value)


def invoke(*options: str):
    return CliRunner().invoke(main, ["pools", *options])


def test_the_command_prints_a_row_for_each_ratio_and_marks_the_best():
    done = invoke("--config", str(CONFIGS / "gemma4-26b-a4b.json"), "--mem", "109.478GB")
    assert done.exit_code == 0, done.output
    assert "5 full layers" in done.output and "25 sliding" in done.output
    assert done.output.count("<- most requests") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "is it a Gemma-4 config"), ("{", "cannot be read as JSON"), (None, "cannot be read")],
    ids=["empty", "cut off", "absent"],
)
def test_a_config_that_is_none_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    done = invoke("--config", str(path), "--mem", "1GiB")
    assert done.exit_code == 2
    assert said in done.output and "Traceback" not in done.output


def test_memory_that_holds_no_request_says_what_one_needs():
    done = invoke("--config", str(CONFIGS / "gemma4-31b.json"), "--mem", "100MB")
    assert done.exit_code == 2
    assert "one request needs" in done.output


# -- a server's log ------------------------------------------------------------------------------

LOGS = Path(__file__).parents[2] / "docs" / "results" / "logs" / "pools"
NAMES = sorted(path.stem for path in LOGS.glob("*.log"))


def compared(name: str, log: str | None = None) -> pool_log.Comparison:
    logged = pool_log.read(log or (LOGS / f"{name}.log").read_text())
    config = json.loads((LOGS / f"{name}.json").read_text())
    return pool_log.compare(logged, model_of(config, logged.dtype))


@pytest.mark.parametrize("name", NAMES)
def test_the_pools_of_a_real_servers_log_are_those_that_are_worked_out(name):
    found = compared(name)
    assert found.differ == []
    assert found.least <= found.logged.full <= found.most
    if found.logged.gib > 1:  # a hundredth of a GiB is little of it
        assert found.most - found.least <= 0.01 * found.logged.full


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("196800", "196736", "196,800 SWA tokens follow from the full pool, the log says 196,736"),
        ("1312192", "1311744", "40.05 GiB hold 1,312,000 to 1,312,384 full tokens"),
        ("K size: 15.02 GB", "K size: 14.02 GB", "SWA pool is 30.039 GiB, the log says 29.04"),
        ("mem usage: 40.05", "mem usage: 41.05", "the log says 1,312,192"),
    ],
)
def test_pools_that_are_not_as_worked_out_are_told(old, new, said):
    log = (LOGS / "31b-0.15-b.log").read_text()
    assert old in log
    assert said in " ".join(compared("31b-0.15-b", log.replace(old, new)).differ)


def test_a_limit_of_tokens_is_what_the_full_pool_has():
    log = (
        (LOGS / "e4b-0.4.log")
        .read_text()
        .replace("max_total_tokens=40000", "max_total_tokens=41000")
    )
    assert compared("e4b-0.4", log).differ == [
        "41,000 full tokens were asked for, 40,000 are there"
    ]


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("server_args", "no line with a server's flags"),
        ("SWAKVPool", "no line with a server's hybrid pools"),
        ("KV Cache is allocated", "does not say the bytes of both pools"),
        ("page_size", "no number for page_size"),
    ],
)
def test_a_log_without_pools_says_what_it_lacks(without, said):
    log = (LOGS / "e4b-0.4.log").read_text().replace(without, "cut")
    with pytest.raises(PoolError, match=said):
        pool_log.read(log)


def test_the_command_compares_a_log_and_ends_with_1_where_it_differs(tmp_path):
    config = ("--config", str(LOGS / "31b-0.8-a.json"))
    done = invoke(*config, "--log", str(LOGS / "31b-0.8-a.log"))
    assert done.exit_code == 0, done.output
    assert "305,600" in done.output and "equal, as far as the log prints sizes" in done.output
    other = tmp_path / "server.log"
    other.write_text((LOGS / "31b-0.8-a.log").read_text().replace("244480", "244416"))
    differs = invoke(*config, "--log", str(other), "--json")
    assert differs.exit_code == 1 and json.loads(differs.output)["equal"] is False
    assert "give --mem" in invoke(*config).output


def test_a_servers_log_is_kept_with_what_its_pools_follow_from_and_nothing_else(tmp_path):
    # GIVEN what `triage lab serve --dir` leaves: a log that says much else, and the model
    log = (LOGS / "31b-0.8-a.log").read_text()
    flags = log.replace("context_length", "model_path='/x', api_key='secret', context_length")
    served = tmp_path / "served"
    (served / "target").mkdir(parents=True)
    (served / "server.log").write_text(f"hello\n{flags}GET /health\n")
    (served / "target" / "config.json").write_text((LOGS / "31b-0.8-a.json").read_text())
    kept = tmp_path / "kept"
    kept.mkdir()
    # WHEN it is stored
    done = CliRunner().invoke(pools_table.main, [str(kept), "--keep", f"new={served}"])
    # THEN the rest is gone, and the table has its row
    assert done.exit_code == 0, done.output
    assert (kept / "new.log").read_text() == log
    assert done.output.splitlines()[-1].startswith("| new | 0.8 | memory | 39.65 | 305,600 |")
    assert done.output.rstrip().endswith("| equal |")
