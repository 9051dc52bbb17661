"""A source of somebody else's that is written in Python against our protocol (`registry: python`)."""
