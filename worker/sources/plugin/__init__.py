"""A source that is a plugin of CloudQuery's: a program of its own, in any language."""
