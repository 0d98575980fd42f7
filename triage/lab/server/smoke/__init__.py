"""The smoke test of a GPU: what must hold on real hardware, in under ten minutes.

results     cells: one line each in a file that a later run goes on from
job_server  one server of a job: its folder, flags and plugins, and what it left
rig         what is played on it: loads, alarms, evidence
jobs        what is played, in order of worth
play        several servers side by side within a budget of seconds
run         the machine, models and archives of one run
summary     the figures of all cells in one record
archive     logs, dumps and compile caches, packed within what may be brought back
"""
