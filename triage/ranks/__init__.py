"""Dumps of several ranks of one server: which rank went wrong first, and at which step."""

from triage.ranks.divergence import Divergence, first_divergence
from triage.ranks.merge import Merged, merge
from triage.ranks.reading import RankDump, Reading, read

__all__ = ["Divergence", "Merged", "RankDump", "Reading", "first_divergence", "merge", "read"]
