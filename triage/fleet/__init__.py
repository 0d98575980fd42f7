"""End-to-end harness: loads and quality checks against any OpenAI-compatible server.

`workloads.py` what is asked; `client.py` one request, timed; `journal.py` results that
survive an interrupted run; `load.py` a workload against a server; `summary.py` and
`compare.py` what runs say; `quality.py` answers at temperature 0 against a baseline.
"""
