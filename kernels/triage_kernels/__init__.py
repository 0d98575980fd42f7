"""Fused Gemma-4 kernels, each beside its eager twin, and the checks that hold them to it.

Rooms, each importing only those before it: `core` (what every kernel shares), `ops` (one
op a file), `validate` (registry, checks, planted defects), `perf` (bench, tune, ahead-of-time
compilation). `validate.registry.KERNELS` is the one list that all commands and tests loop
over. Importing this package imports neither torch nor triton: the interpreter has to be
chosen before triton loads, see `core.interpreter`.
"""
