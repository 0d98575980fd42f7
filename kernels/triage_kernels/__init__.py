"""Fused Gemma-4 kernels, each beside its eager twin, and the checks that hold them to it.

`registry.KERNELS` is the one list that `validate`, `aot`, `bench` and the tests
loop over. Importing this package imports neither torch nor triton: the
interpreter has to be chosen before triton loads, see `interpreter.py`.
"""
