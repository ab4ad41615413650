"""Hostile input: what comes in is read or refused, whatever its bytes are."""
