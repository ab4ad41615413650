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

_HEADING = re.compile(r"#\s*-{2,}\s*(.*?)\s*-*\s*")


def load_model(path: str) -> Model:
    """Return the model in the file *path*; empty = the shipped one.

    Raises:
        SettingsError: If the file can't be read or the model is wrong.
    """
    return model_in(path, text_of(path))


def load_shadow(path: str, live: Model) -> Model | None:
    """Return the shadow model in the file *path*; empty = there is none.

    Raises:
        SettingsError: If it is wrong, or counts anything differently from *live*, on whose weeks it stands.
    """
    if not path:
        return None
    found = load_model(path)
    ours, theirs = (
        ([(m.name, m.passive, m.summed, m.timing) for m in c.measures], c.by_event, c.by_action)
        for c in (live.catalogue, found.catalogue)
    )
    if ours != theirs:
        raise SettingsError(
            f"{path}: its measures differ from those of the live model, on whose weeks it would stand",
            "Give [model] shadow the measures of [model] file (`orgpulse model diff` shows the difference), or try "
            "it with `orgpulse model simulate`.",
        )
    return found


def text_of(path: str) -> str:
    """Return the content of the file *path*; empty = the shipped model's.

    Raises:
        SettingsError: If it can't be read.
    """
    try:
        return Path(path).read_text("utf-8") if path else (files("state") / "health.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read: {error}", "Name a readable file in [model] file.") from None


def model_in(path: str, text: str) -> Model:
    """Return the model in *text*, which came from *path*.

    Raises:
        SettingsError: If the model is wrong.
    """
    name = path or "health.toml"
    try:
        return build_model(tomllib.loads(text))
    except ModelError as error:
        place = f"{name}:{line_of(text, error.where)}"
        raise SettingsError(f"{place}: {error}", "The comments in state/health.toml say what is possible.") from None
    except (ValueError, RecursionError) as error:  # also numbers too long to be read, and too deep nesting
        raise SettingsError(f"{name}: {error}", "The file must be TOML.") from None


def line_of(text: str, where: str) -> int:
    """Return the first line on which *where* stands as a word; 1 if nowhere."""
    word = re.compile(rf"(?<![\w-]){re.escape(where)}(?![\w-])")
    return next((i for i, line in enumerate(text.splitlines(), 1) if word.search(line.split("#")[0])), 1)


def line_of_attribute(text: str, name: str) -> int:
    """Return the line that names an attribute, else the first on which *name* stands; 1 if nowhere."""
    named = re.compile(rf"""\s*name\s*=\s*["']{re.escape(name)}["']""")
    return next((i for i, line in enumerate(text.splitlines(), 1) if named.match(line)), line_of(text, name))


def headings_of(text: str, names: list[str]) -> dict[str, str]:
    """Return attribute → the heading (a comment such as `# --- breadth: … ---`) under which it stands; may be empty.

    >>> headings_of("# --- breadth ---\\nname = 'a'", ["a"])
    {'a': 'breadth'}
    """
    headings = [
        (i, found[1].strip()) for i, line in enumerate(text.splitlines(), 1) if (found := _HEADING.fullmatch(line))
    ]
    under = {}
    for name in names:
        line = line_of_attribute(text, name)
        under[name] = next((heading for i, heading in reversed(headings) if i < line), "")
    return under
