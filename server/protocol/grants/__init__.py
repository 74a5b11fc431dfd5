"""The grant types of the token endpoint, each in the order prove, consume, issue."""
