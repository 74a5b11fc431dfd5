"""The dashboard: pages on which people look after their organizations, under `/dashboard`."""
