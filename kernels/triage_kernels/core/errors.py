"""What this package raises on purpose."""


class KernelError(Exception):
    """Base of every error of `triage_kernels`."""


class ContractError(KernelError, ValueError):
    """A call breaks the stated contract of a kernel: shape, dtype, stride, device or aliasing."""


class InterpreterError(KernelError, RuntimeError):
    """Triton is already loaded in the other mode than the one the device needs."""


class StrayWriteError(KernelError):
    """A call wrote beside its outputs: beside an argument, or beside what it allocated."""


class UnknownNameError(KernelError, LookupError):
    """No kernel, variant, check or provider of that name; the message lists those there are."""


class MutantError(KernelError):
    """A planted defect no longer matches the source it is planted in."""


class NoPayloadError(KernelError):
    """A kernel does what exact arithmetic has no meaning for: a narrow float, an atomic sum."""
