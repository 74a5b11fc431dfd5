"""django-oauth-toolkit as the bench runs it."""
