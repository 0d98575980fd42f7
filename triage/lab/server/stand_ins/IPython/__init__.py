"""Stand-in: SGLang imports `IPython.display` for its notebook helpers."""
