"""What plays the scheduler's part in the lab."""
