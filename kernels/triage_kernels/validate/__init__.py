"""Holding a kernel to its oracle, its twin and its contract; and defects to test that with."""
