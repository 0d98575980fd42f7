"""What `pytest` gets from us, also as plain functions.

    plugin    the entry point `pytest11`: fixtures, `--triage-report DIR`
    lab       SGLang's real classes on the CPU for one test, traps armed
    watch     whatever dumps the traps write while a test runs
    kernels   `assert_kernel_matches`

Loaded by every pytest of an environment that has us: nothing here imports torch or SGLang
before a test asks for it.
"""

from triage.testing.kernels import assert_kernel_matches

__all__ = ["assert_kernel_matches"]
