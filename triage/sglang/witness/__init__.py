"""I28: was the output that of the pages the launch read? Recomputed on a sample, opt-in."""
