"""Stand-in: a text model reads no sound."""
