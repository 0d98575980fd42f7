"""The figures this project holds itself to, each measured as a ratio within one run.

One file per subject. A figure has a name, what was measured, the bar and
whether it is met; machines are noisy, so a time stands beside the thing it is
compared with, measured in the same process.
"""
