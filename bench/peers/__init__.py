"""Other authorization servers, set up by their own recommendations to do the same work."""
