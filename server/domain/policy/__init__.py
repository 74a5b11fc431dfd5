"""Decisions without side effects: no database, no clock, no HTTP; each file is named after its question."""
