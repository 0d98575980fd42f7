"""Fused ops in SGLang's own Gemma-4 models: one decode step equals the stock step, caches included.

Small dimensions, fp32, in Triton's interpreter; `fused_model_child.py` says what is stood in.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import prepared
from triage.sglang.fixes.fused import OPS
from triage.sglang.fixes.fused_attention import READ_IN, Refused, _cache

CHILD = Path(__file__).with_name("fused_model_child.py")
ALL = "+".join(OPS)
ATTENTION = "attention-preamble"
TOLERANCE = 1e-5
"""fp32: roundings of 6e-8 through six layers, relative to the largest value."""

NAMED = {
    f"ple:{ALL}": {
        **dict.fromkeys((ATTENTION, "post-attn-norms"), 6),
        **{"ple-tail-next-norm": 5, "ple-tail": 1},
    },
    f"moe:{ALL}": {
        **dict.fromkeys((ATTENTION, "post-attn-triple", "routing"), 6),
        **{"moe-tail-next-norm": 5, "moe-tail": 1},
    },
    f"draft:{ALL}": {
        **dict.fromkeys((ATTENTION, "post-attn-norms"), 4),
        **{"dense-tail-next-norm": 3, "dense-tail": 1},
    },
    "dense:post-attn-norms": {"post-attn-norms": 6},
    f"dense:{ATTENTION}": {ATTENTION: 6},
    "dense:dense-tail-next-norm": {"dense-tail-next-norm": 5},
    "moe:moe-tail-next-norm": {"moe-tail-next-norm": 5},
    "ple:ple-tail-next-norm": {"ple-tail-next-norm": 5},
}
SPOILED = (
    f"dense:{ATTENTION}:wrong_slots",
    f"ple:{ATTENTION}:fails_behind_the_launch",
    f"ple:{ATTENTION}:another_backend",
    "dense:dense-tail-next-norm:a_model_that_changes_the_row",
)


RELEASE = importlib.metadata.version("sglang")
UNREAD = "" if RELEASE in READ_IN else f"cache writes of SGLang {RELEASE} were not read"
"""Why a layer with own keys keeps SGLang's attention under this release; "" if it does not."""

OWN_KEYS = {"ple": 3, "moe": 6, "dense": 6, "draft": 0}
"""Layers of each model that write keys; the others read another's."""


@pytest.fixture(scope="module")
def steps():
    done = prepared.python(CHILD, *NAMED, *SPOILED, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["wish"]: line for line in lines}


@pytest.mark.parametrize("wish", NAMED, ids=lambda wish: wish.replace(ALL, "all"))
def test_a_decode_step_is_the_stock_step_in_output_and_caches(steps, wish):
    found = steps[wish]
    assert found["output"] < TOLERANCE and found["caches"] < TOLERANCE
    uses, fallbacks = dict(NAMED[wish]), {}
    own_keys = OWN_KEYS[wish.split(":")[0]]
    if UNREAD and ATTENTION in uses and own_keys:
        uses[ATTENTION] -= own_keys
        fallbacks = {f"{ATTENTION}: {UNREAD}": own_keys}
    assert found["uses"] == {op: count for op, count in uses.items() if count}
    assert found["fallbacks"] == fallbacks and found["off"] == []


@pytest.mark.skipif(bool(UNREAD), reason=UNREAD)
def test_a_key_in_a_wrong_slot_would_be_seen(steps):
    assert steps[SPOILED[0]]["caches"] > 0.01


def test_an_error_behind_the_launch_leaves_sglangs_numbers_from_the_projection_on(steps):
    """The query was normed in place by then: SGLang's steps on it would norm it twice."""
    found = steps[SPOILED[1]]
    assert found["output"] < TOLERANCE and found["caches"] < TOLERANCE
    assert found["off"] == [f"fused op {ATTENTION}: switched off"]


def test_an_unknown_backend_keeps_its_own_writes_and_shared_layers_have_the_op_all_the_same(steps):
    found = steps[SPOILED[2]]
    assert found["output"] < TOLERANCE and found["caches"] < TOLERANCE
    why = UNREAD or "attention backend TritonAttnBackend"
    assert found["fallbacks"] == {f"{ATTENTION}: {why}": 3}
    assert found["uses"] == {ATTENTION: 3}


def test_a_row_that_is_not_the_tails_own_is_normed_by_its_layer(steps):
    found = steps[SPOILED[3]]
    assert found["output"] < TOLERANCE
    assert found["uses"] == {"dense-tail-next-norm": 5}


def test_a_prefill_keeps_sglangs_steps():
    """Its kernel reads the new keys beside the cache."""
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    batch = SimpleNamespace(forward_mode=ForwardMode.EXTEND)
    with pytest.raises(Refused, match="forward mode EXTEND"):
        _cache(None, batch, None)
