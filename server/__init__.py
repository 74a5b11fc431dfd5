"""Gatepost: a standalone OAuth 2.0 and OpenID Connect authorization server."""

__version__ = "0.1.0"
