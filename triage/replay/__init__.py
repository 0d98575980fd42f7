"""Offline replay: a recorded launch on any kernel that can run here, each with a verdict."""
