"""What every kernel shares: launching, tiles of rows and heads, argument checks, references."""
