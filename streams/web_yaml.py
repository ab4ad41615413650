"""Owns how a YAML file becomes checked values of which each still knows its line.

Invariant: every refusal names the file, the line, the key and what to do, and shows no value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from streams.settings_file import SettingsError, nearest_name

_MOST_BYTES = 1 << 20
_TEXT, _BOOL, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"
_GUIDE = "docs/security-http.md shows a whole file."


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the file, where it stands and what it is called."""

    file: Path
    node: yaml.Node
    name: str

    @property
    def place(self) -> str:
        """Return ``file, line n``."""
        return f"{self.file}, line {self.node.start_mark.line + 1}"

    def refuse(self, problem: str, remedy: str = _GUIDE) -> SettingsError:
        """Return the error that says what is wrong with this value."""
        return SettingsError(f"{self.place}: {self.name} {problem}", remedy)

    def text(self) -> str:
        """Return a text.

        Raises:
            SettingsError: If it is anything else: a number or a date has lost how it was written.
        """
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _TEXT or not self.node.value:
            raise self.refuse("must be a text", "Put it in quotes.")
        return str(self.node.value)

    def choice(self, known: Collection[str]) -> str:
        """Return a text that is one of *known*."""
        found = self.text()
        if found not in known:
            raise self.refuse(f"must be one of {', '.join(known)}")
        return found

    def truth(self) -> bool:
        """Return true or false."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _BOOL:
            raise self.refuse("must be true or false")
        return str(self.node.value).lower() in ("true", "yes", "on")

    def table(self) -> Iterator[tuple[str, Value]]:
        """Yield names and values of a table; nothing of an empty one.

        Raises:
            SettingsError: If it is no table, or a name stands there twice: one of the two would have no effect.
        """
        if isinstance(self.node, yaml.ScalarNode) and self.node.tag == _NULL:
            return
        if not isinstance(self.node, yaml.MappingNode):
            raise self.refuse("must be a table of names and values")
        seen: set[str] = set()
        for key, node in self.node.value:
            where = Value(self.file, key, f"a name in {self.name}")
            name = where.text()
            if name in seen:
                raise where.refuse(f'("{name}") stands there twice', "Remove one of them.")
            seen.add(name)
            yield name, Value(self.file, node, name if self.name == "the file" else f"{self.name}.{name}")

    def fields(self, known: Collection[str]) -> dict[str, Value]:
        """Return the values of a table all of whose names must be *known*."""
        found: dict[str, Value] = {}
        for name, value in self.table():
            if name not in known:
                near = nearest_name(name, known)
                hint = f'Did you mean "{near}"?' if near else f"Known are: {', '.join(known)}."
                raise SettingsError(f'{value.place}: unknown key "{name}" in {self.name}', f"{hint} {_GUIDE}")
            found[name] = value
        return found


def read_yaml(file: Path) -> Value:
    """Return the whole of a file as one value called "the file".

    Raises:
        SettingsError: If it can't be read, is too large, or is no YAML.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(
            f"{file}: the web configuration can't be read: {error.strerror}",
            "Set [web] config_file to a file that this user may read.",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{file}, line {line}: not UTF-8 text", "Save the file as UTF-8.") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{file}: larger than {_MOST_BYTES} bytes", f"Is it the right file? {_GUIDE}")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:  # its text would quote the line, and with it a hash
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{file}, line {line}: not valid YAML: {error.problem}", _GUIDE) from None
    except (yaml.YAMLError, RecursionError):
        raise SettingsError(f"{file}: not valid YAML", _GUIDE) from None
    if node is None:
        mark = yaml.Mark(str(file), 0, 0, 0, None, 0)
        node = yaml.MappingNode("tag:yaml.org,2002:map", [], mark, mark)
    return Value(file, node, "the file")
