"""The planted defects, by what they are planted in."""

from __future__ import annotations

from triage_kernels.validate.defects.attention import ATTENTION
from triage_kernels.validate.defects.dependent import DEPENDENT
from triage_kernels.validate.defects.mutant import Edit, Mutant
from triage_kernels.validate.defects.published import PUBLISHED
from triage_kernels.validate.defects.published_attention import PUBLISHED_ATTENTION
from triage_kernels.validate.defects.routing import ROUTING
from triage_kernels.validate.defects.row_ops import ROW_OPS

DEFECTS: tuple[Mutant, ...] = (
    *ROW_OPS,
    *ATTENTION,
    *ROUTING,
    *PUBLISHED,
    *PUBLISHED_ATTENTION,
    *DEPENDENT,
)

__all__ = ["DEFECTS", "Edit", "Mutant"]
