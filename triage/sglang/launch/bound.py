"""Launches of our own kernels with all but their tensors filled in, kept from forward to forward.

A decode step differs from the last one in values alone: the same layer, forward mode,
shapes and strides, the same pool and mapping. Its check is then the kernel launch and
nothing else. What must be the same stands in `form` (what the call brings) and `identity`
(objects that live as long as the server); a table and a write share the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import is_
from typing import Any

from triage.sglang.launch.hot_state import Checked, Form


@dataclass(slots=True)
class BoundLaunch:
    """One kernel launch, and what another must share with it to be launched by it.

    launch: takes the new tensors; False where it cannot be used again.
    layer: the one that the first launch of a forward is made for.
    by_request: was it given the batch's request list?
    checked: what the later layers are compared with, brought up to date with each launch;
        None for a write.
    """

    form: Form
    identity: tuple[Any, ...]
    launch: Callable[..., Any]
    layer: Any
    by_request: bool
    checked: Checked | None = None

    def like(self, form: Form | None, identity: tuple[Any, ...]) -> bool:
        """Does a launch of this form, by these objects, differ in values alone?"""
        return form == self.form and all(map(is_, identity, self.identity))
