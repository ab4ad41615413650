"""How far the tests of faults go: the short form of `make test`, or the long one of `make faults N=…`.

Owns the only reading of ORGPULSE_FAULTS_N and ORGPULSE_FAULTS_SEED, and takes them out of the environment: they are no
settings, and the commands that tests run refuse variables that they do not know. Invariant: without them a test does
its least.
"""

from __future__ import annotations

import os
import random

import pytest

#: 0 in the short form; in the long one how many times the least to do.
N = int(os.environ.pop("ORGPULSE_FAULTS_N", "0"))
_SEED = os.environ.pop("ORGPULSE_FAULTS_SEED", "")

#: Marks what only the long form runs.
long_form = pytest.mark.skipif(N == 0, reason="only in the long form: make faults N=1")


def times(least: int) -> int:
    """Return how often to do what the short form does *least* times."""
    return least * max(1, N)


def fresh_seed() -> int:
    """Return a seed and print it; ORGPULSE_FAULTS_SEED repeats a run."""
    seed = int(_SEED or random.SystemRandom().randrange(10**6))
    print(f"seed {seed} (repeat with ORGPULSE_FAULTS_SEED={seed})")
    return seed
