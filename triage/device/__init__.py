"""Checks, containment and the flight recorder in launches without a host sync; no SGLang here."""
