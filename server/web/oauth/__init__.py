"""The machine endpoints: each reads its request, asks the protocol ring, and writes the answer."""
