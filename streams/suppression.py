"""Owns the list of people who were forgotten, so that nothing brings them back: the topic `suppressed`.

    key    HMAC-SHA256 of the name (user id or alias, as it is looked up), 128 bits in hexadecimal
    value  {"since": when it was put there}

Invariant: the list holds no name, and where it can't be asked (no key, or another one) nothing goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from state.identity import spelled
from streams.key_file import KeyLostError, NameKey, read_key
from streams.settings import Settings

CHECK = b"check"
"""Key of the record whose value is the hash of nothing: it tells whether a key is the one that the list is kept by."""
SETTING = "privacy.suppression_key_file"
_USE = "orgpulse suppressed"
_LARGEST_CACHE = 1 << 18
_TOKENS = re.compile(rb'"((?:[^"\\]|\\.){1,400})"|([\w.+@%~-]{1,200})')
_MOST_TOKENS = 2_000
_REMEDY = f"Set [privacy] {SETTING.partition('.')[2]} to the file that `orgpulse forget` was used with."


class Entry(msgspec.Struct, frozen=True):
    """What the list says of a name."""

    since: str = ""
    check: str = ""


class Suppression:
    """Who was forgotten; ask `if suppressed and suppressed.has(name)`: mostly nobody was."""

    def __init__(self, key: NameKey | None, fail: Callable[[BaseException], None] | None = None) -> None:
        """Begin empty; *fail* is told that the list can't be asked (else the error is raised)."""
        self._key, self.fail = key, fail
        self._hashes: set[str] = set()
        self._asked: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    def take(self, record: Any) -> None:
        """Take in a record of the topic.

        Raises:
            KeyLostError: If the list is kept by another key, and nobody else is told of it.
        """
        if record.key == CHECK:
            said = msgspec.json.decode(record.value or b"{}", type=Entry)
            if said.check and self.check != said.check:
                self._refuse("is kept by another key than there is" if self._key else "can't be asked without its key")
            return
        name = (record.key or b"").decode("ascii", "replace")
        if record.value is None:
            self._hashes.discard(name)
        else:
            self._hashes.add(name)
        self._asked.clear()

    @property
    def check(self) -> str:
        """The value of the record CHECK; empty without a key."""
        return "" if self._key is None else self._key.of("")

    def hash_of(self, name: str) -> str:
        """Return under what *name* is on the list."""
        assert self._key is not None, "asked for by who has looked"
        return self._key.of(spelled(name))

    def has(self, name: str) -> bool:
        """Say whether *name*, a user id or an alias, is of somebody who was forgotten."""
        found = self._asked.get(name)
        if found is None:
            if len(self._asked) >= _LARGEST_CACHE:
                self._asked.clear()
            found = self._asked[name] = bool(self._hashes and name) and self.hash_of(name) in self._hashes
        return found

    def has_any(self, names: Iterable[str]) -> bool:
        """Say whether one of *names* is."""
        return bool(self._hashes) and any(self.has(name) for name in names)

    def is_named_in(self, raw: bytes | None) -> bool:
        """Say whether bytes that nobody can read (a dead letter's) hold such a name, as a text or a word."""
        if not self._hashes or not raw:
            return False
        for number, match in enumerate(_TOKENS.finditer(raw)):
            if number >= _MOST_TOKENS:
                return True  # nobody knows, so it is left out
            words = [match[1], *_words(match[1])] if match[1] is not None else [match[2]]
            if any(self.hash_of(word.decode("utf-8", "replace")) in self._hashes for word in words):
                return True
        return False

    def _refuse(self, what: str) -> None:
        error = KeyLostError(f"the list of forgotten people {what}", _REMEDY)
        if self.fail is None:
            raise error
        self.fail(error)


def _words(text: bytes) -> list[bytes]:
    return [match[2] for match in _TOKENS.finditer(text) if match[2] is not None][:_MOST_TOKENS]


def suppression_of(settings: Settings, fail: Callable[[BaseException], None] | None = None) -> Suppression:
    """Return an empty list with the key of *settings*.

    Raises:
        SettingsError: If the key can't be read.
    """
    return Suppression(read_key(settings.privacy.suppression_key_file, SETTING, _USE), fail)


def covers_of(settings: Settings, suppressed: Suppression) -> Callable[[bytes | None, bytes | None], str]:
    """Return what says why a message's key and bytes must not be in a dead letter; empty = they may."""
    pseudonyms = bool(settings.privacy.pseudonyms_key_file) and settings.privacy.dead_letters == "cover"

    def covers(key: bytes | None, value: bytes | None) -> str:
        if pseudonyms:
            return "its bytes are in the source alone: ids are pseudonyms here"
        if suppressed and (suppressed.is_named_in(key) or suppressed.is_named_in(value)):
            return "its bytes are in the source alone: they name somebody who was forgotten"
        return ""

    return covers
