"""Owns the reading of a health model's file.

Invariant: a wrong model stops the start, with file, line and what is wrong.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path

from state.health import Model
from state.model import ModelError, build_model
from streams.settings_file import SettingsError


def load_model(path: str) -> Model:
    """Return the model in the file *path*; empty = the shipped one.

    Raises:
        SettingsError: If the file can't be read or the model is wrong.
    """
    try:
        text = Path(path).read_text("utf-8") if path else (files("state") / "health.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read: {error}", "Name a readable file in [model] file.") from None
    name = path or "health.toml"
    try:
        return build_model(tomllib.loads(text))
    except ModelError as error:
        place = f"{name}:{_line_of(text, error.where)}"
        raise SettingsError(f"{place}: {error}", "The comments in state/health.toml say what is possible.") from None
    except (ValueError, RecursionError) as error:  # also numbers too long to be read, and too deep nesting
        raise SettingsError(f"{name}: {error}", "The file must be TOML.") from None


def _line_of(text: str, where: str) -> int:
    """Return the first line on which *where* stands as a word; 1 if nowhere."""
    word = re.compile(rf"(?<![\w-]){re.escape(where)}(?![\w-])")
    return next((i for i, line in enumerate(text.splitlines(), 1) if word.search(line.split("#")[0])), 1)
