"""What stands at the scheduler: steps, admission, sizes, and the history that it leaves."""
