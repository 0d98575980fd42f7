"""The pool arithmetic against the sizes that the servers which crashed had printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from triage.cli import main
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


def test_layers_that_share_keys_have_no_pool():
    e4b = model("gemma4-e4b")
    assert (e4b.full_layers, e4b.swa_layers) == (4, 20)


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
