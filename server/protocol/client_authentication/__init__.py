"""Client authentication: exactly the registered method, once, on every endpoint (RFC 6749 §2.3)."""
