"""Puts this directory on the import path, so that its tests share `oracles`."""
