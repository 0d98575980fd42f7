"""One set of drawn examples, so that what fails on one machine fails on all.

`pytest --hypothesis-profile=hunt` draws new ones.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("hunt", print_blob=True)
settings.load_profile("same")
