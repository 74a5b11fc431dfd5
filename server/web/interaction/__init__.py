"""The pages between `/oauth/authorize` and the redirect back to the client."""
