"""What is kept of an allocator ends with it: on a GPU it is device memory."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from weakref import ref

from triage.sglang.allocator.page_histories import PageHistories


class Allocator(SimpleNamespace):
    """As far as its pages are concerned."""

    __hash__ = object.__hash__


def test_the_recorder_of_an_allocator_that_is_gone_goes_when_another_is_met():
    first, second = (Allocator(page_size=16, size=64, device="cpu") for _ in range(2))
    histories = PageHistories(step=lambda: 1)
    histories.before_alloc(first, (), {})
    (recorder,) = map(ref, histories.recorders())
    del first
    histories.before_alloc(second, (), {})
    gc.collect()
    assert recorder() is None and len(histories.recorders()) == 1
