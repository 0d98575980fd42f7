"""The smoke test of a GPU: what must hold on real hardware, in under ten minutes.

results   cells: one line each in a file that a later run goes on from
rig       one server of a job: its folder, plugins, loads, alarm and evidence
jobs      what is played, in order of worth
play      several servers side by side within a budget of seconds
summary   the figures of all cells in one record
archive   logs, dumps and compile caches, packed within what may be brought back
"""
