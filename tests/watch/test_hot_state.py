"""The sources that are written into the wrappers say what the functions beside them say."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from triage.sglang.launch.hot_state import (
    SAME_FORWARD_SRC,
    SAME_LAUNCH_SRC,
    SAME_WRITE_SRC,
    Checked,
    Forward,
    HotState,
    first_extent,
    same_forward,
    same_launch,
    same_write,
)

TENSORS = [torch.zeros(1) for _ in range(2)]
POOLS = [SimpleNamespace(), SimpleNamespace()]
METADATA = [SimpleNamespace(), SimpleNamespace()]
BACKENDS = [SimpleNamespace(), SimpleNamespace()]
BATCHES = [SimpleNamespace(), SimpleNamespace()]


class Layer:
    def __init__(self, layer_id):
        self.layer_id = layer_id


LAYERS = [Layer(number) for number in (0, 1, 7)]  # 7 is not in the pool
CACHES = [(torch.zeros(pages, 1), None) for pages in (3, 4)]

tensor = st.sampled_from(TENSORS)
maybe = st.sampled_from([None, *TENSORS])
window = st.sampled_from([-1, 511, 512])


@st.composite
def checks(draw):
    return Checked(
        table=draw(tensor),
        lengths=draw(tensor),
        cumulative=draw(maybe),
        q_len=draw(st.sampled_from([None, 1, 4])),
        window=draw(window),
        pages=draw(st.sampled_from([3, 4])),
        kinds={0: (0, False), 1: (0, True)},
        slides=draw(st.booleans()),
        layers=draw(st.sets(st.sampled_from(range(3)))).copy(),
    )


@st.composite
def states(draw):
    """A hot state in the middle of a forward, of another, or of none."""
    hot = HotState()
    hot.armed = draw(st.booleans())
    backend, batch = draw(st.sampled_from(BACKENDS)), draw(st.sampled_from(BATCHES))
    backend.forward_metadata = draw(st.sampled_from(METADATA))
    backend.token_to_kv_pool = draw(st.sampled_from(POOLS))
    if draw(st.booleans()):
        hot.newest = Forward(
            backend=draw(st.sampled_from(BACKENDS)),
            metadata=draw(st.sampled_from(METADATA)),
            lengths=None,
            batch=draw(st.sampled_from(BATCHES)),
            pool=draw(st.sampled_from(POOLS)),
            holder=backend,
            windowed=draw(st.none() | checks()),
            whole=draw(st.none() | checks()),
            written=draw(maybe),
            written_swa=draw(maybe),
        )
    layer = draw(st.sampled_from(LAYERS))
    for checked in (hot.newest.windowed, hot.newest.whole) if hot.newest else ():
        if checked is not None:
            checked.layers = {LAYERS[number] for number in checked.layers} & set(LAYERS[:2])
    hot.current_call = (backend, layer, batch)
    hot.forward = hot.newest if draw(st.booleans()) else None
    return hot


def executed(source: str, answer: str, **names: object) -> object:
    """What stands in `answer` once `source`, written out for these names, has run."""
    space: dict[str, object] = dict(names)
    exec(compile(source, "<source>", "exec"), space)
    return eval(answer, space)


def twin_of(hot: HotState) -> HotState:
    """A state of its own that knows the same: both sides note what they found."""
    copy = HotState()
    for name in HotState.__slots__:
        setattr(copy, name, getattr(hot, name))
    return copy


@given(hot=states())
def test_an_entry_is_of_the_forward_that_was_checked_or_not(hot: HotState):
    assert hot.current_call is not None
    backend, _, batch = hot.current_call
    source = SAME_FORWARD_SRC.format(backend="backend", batch="batch")

    expected = same_forward(hot, backend, batch)

    assert executed(source, "hot.forward", hot=hot, backend=backend, batch=batch) is expected


@given(hot=states(), loc=tensor, swa_loc=maybe)
def test_a_write_is_of_another_layer_or_is_looked_at(hot: HotState, loc, swa_loc):
    source = SAME_WRITE_SRC.format(loc="loc", swa_loc="swa_loc").rstrip() + "\n    asked = True\n"

    asked = executed(source, "asked", hot=hot, loc=loc, swa_loc=swa_loc, asked=False)

    assert asked is (hot.armed and not same_write(hot, loc, swa_loc))


@given(
    hot=states(),
    call=st.fixed_dictionaries(
        {
            "kv_cache": st.sampled_from(CACHES),
            "block_tables": tensor,
            "seq_lens": tensor,
            "window_left": window,
            "q_len_per_req": st.sampled_from([None, 1, 4]),
            "cum_seq_lens_q": maybe,
        }
    ),
)
def test_a_launch_is_of_another_layer_or_is_checked(hot: HotState, call):
    other = twin_of(hot)
    source = SAME_LAUNCH_SRC.format(**{name: name for name in call})
    source = textwrap.dedent(source).rstrip() + "\n    found = _checked\nelse:\n    found = None\n"

    found = executed(source, "found", hot=hot, extent=first_extent, **call)

    assert found is same_launch(other, **call)
    assert hot.repeated == other.repeated
