"""What `triage doctor` finds out, without risk to the process that asks.

    child     imports and binds, one stage after another, and may die of it
    ask       starts it, waits, and turns what came back, or its death, into findings
    coverage  which launches and checks each mode covers, from a GPU and server flags

A package that aborts at import takes the child along; the stage it died in and its last
words are then the answer. Only what is missing is ever stood in, on a machine without a
GPU, and named: with a GPU the doctor must say what the server would meet.
"""
