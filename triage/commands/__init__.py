"""One module per command: arguments in, library call, text and exit code out."""
