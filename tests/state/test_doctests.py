"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import agents
import reports
import state
import streams

MODULES = [
    m.name for p in (state, streams, agents, reports) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_module_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_there_are_examples_to_check() -> None:
    attempts = sum(doctest.testmod(importlib.import_module(m)).attempted for m in MODULES if m.startswith("state."))
    assert attempts > 15
