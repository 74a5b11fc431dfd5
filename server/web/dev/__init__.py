"""The development server's own pages: a client that shows how OAuth works by doing it."""
