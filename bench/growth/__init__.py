"""Cost per request with a thousand rows and with ten million."""
