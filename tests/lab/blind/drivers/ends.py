"""Made up: with the defect the whole process is gone, as after a wild write."""

import os
import signal
from contextlib import contextmanager

NAME = "ends"
REFERENCE = "made up"
SUBSYSTEM = "process"
WHAT = "The process is killed."
EXPECTED = {"sentence": "Nothing can be said."}
planted = False


@contextmanager
def plant(harmed):
    global planted
    planted = True
    yield


def drive(lab):
    if planted:
        os.kill(os.getpid(), signal.SIGSEGV)
