"""Owns the environment of child processes that work with given settings.

Invariant: a child sees these settings alone, none that this process happened to get from its own environment.
"""

from __future__ import annotations

import os

from streams.settings import CONFIG_VARIABLE, Settings, environment_of
from streams.settings_file import VARIABLE_PREFIX


def child_environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment with *settings* in the place of its own; it holds secrets as they are."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLE_PREFIX)}
    # Variables leave out what is at its default: a settings file where the child runs would say it otherwise.
    return plain | {CONFIG_VARIABLE: os.devnull} | environment_of(settings)
