"""What `triage doctor` finds out, without risk to the process that asks.

    child     imports and binds, one stage after another, and may die of it
    ask       starts it, waits, and turns what came back, or its death, into findings
    examine   all of it in one record: environment, stages, coverage, exit code
    text      that record on forty lines

Which launches a server's flags put out of sight is `triage/sglang/launch/coverage.py`.

A package that aborts at import takes the child along; the stage it died in and its last
words are then the answer. Only what is missing is ever stood in, on a machine without a
GPU, and named: with a GPU the doctor must say what the server would meet.
"""
