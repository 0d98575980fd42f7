"""A CPU twin of the serving process: SGLang's real pools, allocator and backends.

Nothing of SGLang is imitated here except what DESIGN of this folder names:
the FlashInfer launch (`gpu.py`), the model runner that would have loaded
weights (`runtime.py`) and the scheduler loop that drives lifecycles (`drive.py`).
"""
