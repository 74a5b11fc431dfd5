"""`/v1`: the API by which organizations, their people, keys and applications are managed."""
