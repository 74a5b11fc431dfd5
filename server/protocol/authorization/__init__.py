"""The authorization endpoint: one table of checks, one stored state machine, one encoder for every answer."""
