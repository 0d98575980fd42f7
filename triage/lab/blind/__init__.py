"""Blind rounds: defects by people who have not read the checks, and what the traps make of them.

driver      what a driver is, and how its file is read
workload    which run of the lab its fields ask for
stage       what a driver's own script is given
play        one run, and the line of one driver
player      all drivers of one release, each in a process of its own
folder      a folder of drivers, over releases
kernels     a folder of kernel mistakes, held to `triage kernels validate`
artefacts   a folder of texts, held to `triage explain`
judgement   what a person said of an answer
"""
