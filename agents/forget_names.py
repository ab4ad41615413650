"""Whom a command is about, and how bytes are searched for their names.

Owns the recognition of a name in raw records. Invariant: no record that holds a name, as this house or a producer
spells it, is taken for one that does not; a short or numeric name may be found where it stands for something else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import msgspec

from state.identity import Directory, spelled
from streams.log_state import content_of
from streams.pseudonyms import pseudonyms_of
from streams.read_directory import DirectoryLimits, user_entry
from streams.reading import Rejected
from streams.settings import Settings
from streams.topic_specs import topic_names

_SURE_CHARS = 8
"""A name of so many characters that is no number is looked for anywhere; a shorter one as a word of its own."""
_WORD = rb"[\w.+@%~-]"


@dataclass(frozen=True)
class Names:
    """A person: what they are called here. `user` is the id in the directory, else the name that was given."""

    user: str
    aliases: tuple[str, ...]
    """All names that lead to them, the id among them, as they are looked up."""
    known: bool = True
    """Whether the directory knows them."""
    orgs: tuple[str, ...] = field(default=())
    """Of their memberships."""

    @cached_property
    def all(self) -> frozenset[str]:
        """Every name."""
        return frozenset({self.user, *self.aliases})

    @cached_property
    def _needles(self) -> tuple[list[bytes], re.Pattern[bytes] | None]:
        sure, words = set[bytes](), set[bytes]()
        for name in self.all:
            quoted = [json.dumps(name, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)]
            spellings = {name, *quoted, *(each.replace("/", "\\/") for each in quoted)}
            raw = {each.encode("utf-8", "surrogatepass") for each in spellings}
            is_sure = "@" in name or (len(name) >= _SURE_CHARS and not name.isdigit())
            (sure if is_sure else words).update(each.lower() if "@" in name else each for each in raw)
        pattern = b"|".join(re.escape(word) for word in sorted(words))
        found = re.compile(rb"(?<!" + _WORD + rb")(?:" + pattern + rb")(?!" + _WORD + rb")") if words else None
        return sorted(sure), found

    @cached_property
    def _wide(self) -> bool:
        return any("@" in name and not name.isascii() for name in self.all)

    def is_in(self, raw: bytes | None) -> bool:
        """Say whether *raw* holds one of the names."""
        if not raw:
            return False
        sure, words = self._needles
        lower = raw.lower()
        if self._wide and not raw.isascii():  # bytes know of no capitals beyond ASCII
            lower += b"\n" + raw.decode("utf-8", "replace").lower().encode("utf-8", "replace")
        return any(each in raw or each in lower for each in sure) or (
            words is not None and words.search(raw) is not None
        )

    def is_in_record(self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> bool:
        """Say whether a record holds one, also within the base64 of a dead letter."""
        if self.is_in(key) or self.is_in(value) or any(self.is_in(each) for _, each in headers):
            return True
        return any(self.is_in(each) for each in _packed_in(value))


class _Letter(msgspec.Struct):
    key: str | None = None
    value: str | None = None
    reason: str = ""


_letter = msgspec.json.Decoder(_Letter)


def _packed_in(value: bytes | None) -> list[bytes]:
    """Return the bytes that a dead letter packs."""
    if not value or b'"reason"' not in value[:200]:
        return []
    try:
        letter = _letter.decode(value)
        return [base64.b64decode(text, validate=True) for text in (letter.key, letter.value) if text]
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return []


def names_of(directory: Directory, who: str, called: Callable[[str], str] = spelled) -> Names:
    """Return the person that *who*, a user id or an alias, leads to; of nobody who is known that name alone.

    *called* is how names are called here (see `streams.pseudonyms`).
    """
    alias = called(who)
    person = directory.find(alias)
    user = person.user if person is not None else alias if alias in directory.users else ""
    if not user:
        return Names(alias, (alias,), known=False)
    record = directory.users[user]
    mine = {user, spelled(user), alias, *directory.aliases_of(user)}
    mine |= {each for each in record.aliases if directory.claims_of(each)[:1] == [user]}
    return Names(
        user, tuple(sorted(mine)), orgs=tuple(sorted({org for _, _, org in record.memberships} | {record.org}))
    )


async def with_raw_names(settings: Settings, names: Names, who: str) -> Names:
    """Return *names* with those by which raw messages call the person, where these have pseudonyms here."""
    pseudonyms = pseudonyms_of(settings)
    if pseudonyms is None:
        return names
    ingest, more = settings.ingest, {spelled(who)}
    plain = DirectoryLimits(ingest.max_id_chars, ingest.max_aliases, ingest.max_value_bytes)
    for rows in await content_of(settings.kafka, topic_names(settings).users):
        for key, value in rows.items():
            try:
                name, found = user_entry(key, value, plain)
            except Rejected:
                continue
            if pseudonyms.of(name) == names.user:
                more |= {name, *found.aliases}
    return replace(names, aliases=tuple(sorted({*names.aliases, *more})))
