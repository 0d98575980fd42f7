"""The installed SGLang's real server, on this machine's GPU, with a model made on the spot.

shapes      a Gemma-4 shape as `config.json`: every size, its assistant, a small form
checkpoint  seeded weights for small shapes, in which attention decides the tokens
flags       the server flags that this GPU needs, each with its reason
process     one server: started, awaited, watched, and stopped with all it started
load        requests for it, plain (repeatable) and mixed (aborts, shared prefixes, edges)
"""
