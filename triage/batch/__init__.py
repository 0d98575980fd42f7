"""Many dumps at once, from wherever they lie: read, explained, sorted into clusters, told.

`objects.py` what a source holds, through fsspec; `rows.py` one dump as one row of the results;
`signature.py` what makes two dumps the same failure; `clusters.py` rows as clusters, ranked;
`results.py` rows as Parquet; `run.py` all of it over an engine (`triage/engines`), resumable;
`exemplars.py` one minimal dump of each cluster; `page.py` the results as one HTML page;
`spool.py` and `upload.py` how a server's dumps get to an object store.
"""
