"""State as released versions wrote it, kept so that every later version can be held against it."""
