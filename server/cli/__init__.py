"""The command line: `gatepost …`, for operators."""
