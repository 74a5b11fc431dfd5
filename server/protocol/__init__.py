"""The wire: parameters, checks, claims and error codes, each named after its specification; no Flask, no HTML."""
