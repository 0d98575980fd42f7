"""What this package raises on purpose."""

from collections.abc import Iterable


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


def no_such(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not known: the nearest one, and all there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    close = close or [each for each in names if len(name) > 2 and name in each][:1]
    meant = f" (did you mean {close[0]}?)" if close else ""
    return UnknownNameError(f"no {kind} {name!r}{meant}; there are: {', '.join(names)}")


class MutantError(KernelError):
    """A planted defect no longer matches the source it is planted in."""


class NoPayloadError(KernelError):
    """A kernel does what exact arithmetic has no meaning for: a narrow float, an atomic sum."""
