"""What `triage doctor` finds out, without risk to the process that asks.

    child     imports and binds, one stage after another, and may die of it
    ask       starts it, waits, and turns what came back, or its death, into findings
    examine   all of it in one record: environment, stages, coverage, exit code
    text      that record on forty lines
    release, source_tree, skeleton, skeleton_registry    a release that is only read
    quick_imports    what the child asks the system for, asked once
    self_test, planted    a wrong page id in throw-away processes, and who notices

Which launches a server's flags put out of sight is `triage/sglang/launch/coverage.py`.

A package that aborts at import takes the child along; the stage it died in and its last
words are then the answer. Only what is missing is ever stood in, on a machine without a
GPU, and named: with a GPU the doctor must say what the server would meet.
"""
