"""Terminal views. Imported by a command only when it prints for a person: rich is not free."""
