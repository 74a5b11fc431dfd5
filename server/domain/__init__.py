"""The tables and the rules over them, one noun a file; true whatever protocol asks."""
