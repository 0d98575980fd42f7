"""Pure checks of the paged, hybrid-SWA KV state: tensors in, findings out.

One module per family. None of them knows SGLang or needs a GPU; each runs on
whatever device its tensors live on. `triage/device.py` repeats the hot ones as
one Triton kernel and is tested against these.

    findings   what a check returns: counts for one host read, offenders on demand
    reads      I1 I2 I12 I26   the table and the lengths an attention launch reads
    allocator  I20             what an allocator handed out
"""
