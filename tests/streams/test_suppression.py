"""The list of those who were forgotten recognises them by any spelling, names nobody, and is no use without its key."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.key_file import KeyLostError, NameKey, read_key
from streams.pseudonyms import Pseudonyms, called_by, pseudonyms_of
from streams.reading import Reading
from streams.settings import Settings, SettingsError, override
from streams.suppression import CHECK, Suppression, covers_of, suppression_of
from tests.state.worlds import examples

pytestmark = pytest.mark.security
SECRET = b"forty-two bytes that nobody else would guess"


class Row(NamedTuple):
    key: bytes
    value: bytes | None


def listed(*names: str, secret: bytes = SECRET) -> Suppression:
    """Return a list with *names* on it."""
    found = Suppression(NameKey(secret, "list"))
    for name in names:
        found.take(Row(found.hash_of(name).encode(), b'{"since":"2026-01-01T00:00:00Z"}'))
    return found


def test_a_name_is_found_by_every_spelling_that_leads_to_the_person() -> None:
    found = listed("ann@example.org", "8812")
    assert all(map(found.has, ("ann@example.org", " Ann@Example.ORG ", "8812")))
    assert not any(map(found.has, ("ann", "88120", "", "bob@example.org")))
    found.take(Row(found.hash_of("8812").encode(), None))
    assert not found.has("8812") and len(found) == 1


def test_the_list_holds_hashes_that_another_key_would_make_otherwise() -> None:
    one, other = listed("ann"), listed("ann", secret=SECRET[::-1])
    assert one.hash_of("ann") != other.hash_of("ann") and len(one.hash_of("ann")) == 32
    assert "ann" not in one.hash_of("ann")
    assert NameKey(SECRET, "list").of("ann") != NameKey(SECRET, "pseudonym").of("ann")


@pytest.mark.parametrize(
    "raw",
    [b'{"distinct_id": "Ann@Example.org", "time": }', b"<13>1 - - user=ann@example.org did x", b"\xff ann@example.org"],
)
def test_a_name_is_found_in_bytes_that_nobody_can_read(raw: bytes) -> None:
    assert listed("ann@example.org").is_named_in(raw)
    assert not listed("bob@example.org").is_named_in(raw)
    assert not listed("ann@example.org").is_named_in(None)


@examples(200)
@given(st.binary(max_size=400))
def test_no_bytes_break_the_search(raw: bytes) -> None:
    assert listed("ann@example.org").is_named_in(raw) in (False, True)


def test_without_the_key_or_with_another_one_nothing_goes_on() -> None:
    check = Row(CHECK, b'{"check":"' + listed().check.encode() + b'"}')
    listed().take(check)
    for wrong in (listed(secret=b"x" * 40), Suppression(None)):
        with pytest.raises(KeyLostError, match="list of forgotten people"):
            wrong.take(check)
    told: list[BaseException] = []
    Suppression(None, told.append).take(check)
    assert [type(error) for error in told] == [KeyLostError]


def test_a_key_file_is_checked_and_never_shown(tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    short.write_text("geheim")
    for path, said in ((tmp_path / "none.key", "can't be read"), (short, "holds 6 bytes")):
        with pytest.raises(SettingsError, match=said) as caught:
            suppression_of(override(Settings(), {"privacy.suppression_key_file": str(path)}))
        assert "geheim" not in str(caught.value) + caught.value.remedy and "openssl rand" in caught.value.remedy
    key = tmp_path / "key"
    key.write_bytes(SECRET)
    made = read_key(str(key), "x", "y")
    assert made is not None and SECRET.decode() not in repr(made)
    assert suppression_of(Settings()).check == ""


def test_letters_about_somebody_forgotten_hold_no_bytes() -> None:
    covers = covers_of(Settings(), listed("ann@example.org"))
    assert "somebody who was forgotten" in covers(None, b'{"author": "ann@example.org"')
    assert "somebody who was forgotten" in covers(b"ann@example.org", b"{}")
    assert covers(b"k", b'{"author": "bob@example.org"') == ""


def test_one_name_has_one_pseudonym_everywhere_and_nobody_has_none() -> None:
    found = Pseudonyms(NameKey(SECRET, "p"))
    assert found.of("Ann@Example.org ") == found.of("ann@example.org") != found.of("bob@example.org")
    assert found.of("") == "" and len(found.of("ann")) == 32
    reading = found.of_reading(Reading("a", "ann", "message", 5, 0, "m<1@ann.example>", "m<0@ann.example>", link="bob"))
    assert (reading.who, reading.link, reading.org) == (found.of("ann"), found.of("bob"), "a")
    assert reading.id.startswith("m") and "ann" not in reading.id + reading.ref


def test_names_are_called_by_their_pseudonyms_where_there_are_any(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(SECRET)
    hidden = override(Settings(), {"privacy.pseudonyms_key_file": str(key)})
    assert pseudonyms_of(Settings()) is None and called_by(Settings())(" Ann@X.org") == "ann@x.org"
    assert called_by(hidden)("Ann@X.org") == called_by(hidden)("ann@x.org") != "ann@x.org"
