"""Other servers, doing the same work on the same machine in the same run."""
