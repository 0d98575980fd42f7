"""One op a file: the kernel, its launcher, its eager twin, its oracle and its registry entry."""
