"""Puts this directory on the import path, so that tests share `dumps_fixture`."""
