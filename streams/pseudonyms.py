"""Owns pseudonyms: keyed hashes in the place of user ids, aliases and e-mail addresses, made as messages are read.

    ann@Example.ORG ─► spelled as it is looked up ─► HMAC-SHA256 ─► 128 bits of it, in hexadecimal

Invariant: one name has one pseudonym, in every source, the directory and every process with the same key; so whoever
is one person stays one, and nothing behind the readers ever sees a name.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from state.identity import UserRecord, spelled
from streams.key_file import NameKey, read_key
from streams.reading import Reader, Reading
from streams.settings import Settings

SETTING = "privacy.pseudonyms_key_file"
_USE = "orgpulse pseudonym"
_LARGEST_CACHE = 1 << 18


class Pseudonyms:
    """The pseudonyms by one key."""

    def __init__(self, key: NameKey) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the pseudonym of a user id or alias; nobody's is empty."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= _LARGEST_CACHE:
                self._known.clear()
            found = self._known[name] = self._key.of(spelled(name)) if name else ""
        return found

    def of_id(self, id_: str) -> str:
        """Return what stands for the id of a message, which may hold an address; its first character says of what."""
        return id_[:1] + self._key.of(id_) if id_ else ""

    def of_reading(self, found: Reading) -> Reading:
        """Return *found* with pseudonyms."""
        found.who, found.link = self.of(found.who), self.of(found.link)
        found.id, found.ref = self.of_id(found.id), self.of_id(found.ref)
        return found

    def of_user(self, found: UserRecord) -> UserRecord:
        """Return an entry of the directory with pseudonyms, and without what people call them."""
        aliases = list(dict.fromkeys(map(self.of, found.aliases)))
        return msgspec.structs.replace(found, user=self.of(found.user), aliases=aliases, display_name="")

    def reader(self, read: Reader) -> Reader:
        """Return a reader whose readings have pseudonyms."""
        return lambda value: self.of_reading(read(value))


def pseudonyms_of(settings: Settings) -> Pseudonyms | None:
    """Return the pseudonyms that *settings* want, None = none.

    Raises:
        SettingsError: If the key can't be read.
    """
    key = read_key(settings.privacy.pseudonyms_key_file, SETTING, _USE)
    return None if key is None else Pseudonyms(key)


def called_by(settings: Settings) -> Callable[[str], str]:
    """Return how a name is called here: as it is looked up, or by its pseudonym."""
    pseudonyms = pseudonyms_of(settings)
    return spelled if pseudonyms is None else pseudonyms.of
