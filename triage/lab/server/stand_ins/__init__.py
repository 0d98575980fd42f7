"""Modules that SGLang imports and a lab server never uses, as empty stand-ins for a bundle.

Copied into a bundle under their real names, where they save some 60 MB; nothing here imports
them. A server with a grammar, a notebook or sound needs the real ones.
"""
