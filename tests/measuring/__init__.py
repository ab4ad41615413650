"""Tests of what measures: the comparison with peers, the profile."""
