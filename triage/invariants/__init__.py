"""Pure checks of the paged, hybrid-SWA KV state: tensors in, findings out.

One module per thing that is judged; the families that are switched on together
are cut differently: `catalogue` has a row for each invariant. None of them knows SGLang or
needs a GPU; each runs on whatever device its tensors live on. `triage/device/checker.py`
repeats the hot ones as one Triton kernel and is tested against these.

    findings   what a check returns: counts for one host read, offenders on demand
    reads      I1 I2 I12 I26            the table and lengths an attention launch reads
    packed_slots  I1 I2 I12 I13         the packed slots a Triton launch reads
    lengths    I12                      lengths and query offsets of the right forward
    writes     I3 I20                   the KV slots a forward writes
    rows       I20                      rows of the request table, page by page
    graph      I10 I11                  what a replayed CUDA graph is fed
    allocator  I5 I6 I7 I20             free lists, balances, and what is handed out
    mapping    I4 I6 I8 I9              full-pool slots to SWA slots
    lifecycle  I14 I15                  rows, frontiers and windows of requests
    tree       I16                      the radix tree, flattened
    geometry   I13 I19 I21 I24 I25 I27  sizes, transfers, budgets, the workspace
    spec       I22 I23                  granularity of tables, state that is restored

I17 needs history and lives in `triage/invariants/ledger.py`, I18 needs events of streams
(`triage/sglang/launch/order.py`), I28 a kernel's output (`triage/sglang/witness/`). Not checked:
the half of I24 that concerns writes after an abort.
"""
