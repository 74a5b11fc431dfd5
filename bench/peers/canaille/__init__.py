"""Canaille as the bench runs it."""
