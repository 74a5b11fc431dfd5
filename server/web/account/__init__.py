"""The pages that people come to with what was sent to them, and those over their own account."""
