"""What a dump holds, how it is written, read and stored; everything here reads without torch."""
