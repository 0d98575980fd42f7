"""Made up: it patches what is not there, and so never shows its defect."""

from contextlib import contextmanager

NAME = "broken"
REFERENCE = "made up"
SUBSYSTEM = "allocator"
WHAT = "Its oracle never says that anything is wrong."
EXPECTED = {"sentence": "Nothing."}
WORKLOAD = {"draft": "none", "requests": 1, "prompt_tokens": 16, "output_tokens": 2}


@contextmanager
def plant(harmed):
    yield
