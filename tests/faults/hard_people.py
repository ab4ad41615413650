"""People who are easily mistaken for others, or not recognised, with messages by them and who really sent each.

Owns the known identity map: every text under which anybody is ever named leads to the one person behind it. Invariant:
no text has two persons behind it, so a message tells by its text alone whose it is.

    spelled     one person: e-mail in capitals or with blanks around, id as text and as number
    sharing     two persons whose directory entries hold the same e-mail; it is the first one's
    namesakes   the user name of one is the id of another
    lookalikes  two user names that differ in capitals only: two persons
    renamed     one person, whose new e-mail the directory learns later
    late        one person whom the directory learns later
    nobody      a person whom the directory never learns
    guest       a person without directory entry who writes in a chat: becomes a user of that org, once
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from agents.simulate import Base, Message

WEEKS = 5
_WEEK_SECONDS = 604_800
_NAMES = ("Search", "Export", "Share", "Content Viewed", "Formula Built", "Report Opened")
_BLANKS = ("{}", " {}", "{} ", "  {} ")
_MAIL = re.compile(rb'"(distinct_id|author)":"([^"@ ]+@[^"@ ]+)"')
_CAPITALS_CHANCE, _BLANKS_CHANCE = 0.08, 0.04


@dataclass
class HardPeople:
    """Directory entries and messages of *groups* times one of each case, up to *end* (epoch seconds)."""

    base: Base
    groups: int
    end: float
    chance: Random
    owner: dict[str, str] = field(default_factory=dict)
    """Text as it is sent → person: the id of a known user, or a name that no directory holds."""
    unknowable: set[str] = field(default_factory=set)
    """Persons whom nothing ever tells of: what they do waits for ever."""
    bots: set[str] = field(default_factory=set)
    first: list[Message] = field(default_factory=list)
    """Directory entries that come before everything else, in this order."""
    later: list[Message] = field(default_factory=list)
    """Directory entries that come at any time."""
    messages: list[Message] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self.bots |= {user.id for user in self.base.users if user.bot}
        for user in self.base.users:
            for text in (user.email, user.username, user.id, *user.aliases):
                self.owner[text] = user.id
            if user.later_email:
                self.owner[user.later_email] = user.id
        known = (self._spelled, self._sharing, self._namesakes, self._lookalikes)
        for group in range(self.groups):
            org = self.base.orgs[self.chance.randrange(len(self.base.orgs))].id
            for case in (*known, self._learnt_later, self._strangers):
                case(group, org)

    def note_news(self, messages: Iterable[Message]) -> None:
        """Note which of the new addresses of the base the directory learns in *messages*; the others are nobody's."""
        entries = [json.loads(m.value or b"{}") for m in messages if m.topic == "users"]
        learnt = {alias for entry in entries for alias in entry.get("aliases", ())}
        for new in {user.later_email for user in self.base.users if user.later_email} - learnt:
            self.owner[new] = new
            self.unknowable.add(new)

    def spelled_otherwise(self, message: Message) -> Message:
        """Return *message*, now and then with its e-mail in capitals or with blanks around."""
        found = _MAIL.search(message.value or b"")
        luck = self.chance.random()
        if found is None or luck > _CAPITALS_CHANCE + _BLANKS_CHANCE:
            return message
        mail = found[2].decode()
        other = mail.upper() if luck < _CAPITALS_CHANCE else self.chance.choice(_BLANKS[1:]).format(mail)
        if mail not in self.owner:  # a bad message's
            return message
        self.owner[other] = self.owner[mail]
        said = b'"' + found[1] + b'":"' + other.encode() + b'"'
        return message._replace(value=(message.value or b"").replace(found[0], said, 1))

    def _spelled(self, group: int, org: str) -> None:
        user, mail, name = str(900_000 + group), f"Mia.Case{group}@Firm{group}.Example", f"MiaCase{group}"
        self._entry(self.first, user, org, email=mail, username=name)
        for text in (mail, mail.lower(), mail.upper(), name, user):
            self._says(user, org, self.chance.choice(_BLANKS).format(text))
        self._says(user, org, int(user))
        self._chats(user, org, mail.lower())
        self._acts(user, org, int(user))
        self._acts(user, org, user)

    def _sharing(self, group: int, org: str) -> None:
        one, other, mail = f"share-b{group}", f"share-a{group}", f"team{group}@shared.example"
        self._entry(self.first, one, org, email=mail, username=f"first{group}")
        self._entry(self.later, other, org, email=mail.upper(), username=f"second{group}")
        for text in (mail, mail.upper(), one, f"first{group}"):
            self._says(one, org, text)
        for text in (other, f"second{group}"):
            self._says(other, org, text)

    def _namesakes(self, group: int, org: str) -> None:
        one, other = str(910_000 + group), f"other{group}"
        self._entry(self.first, one, org, email=f"one{group}@names.example")
        self._entry(self.later, other, org, email=f"other{group}@names.example", username=one)
        for text in (one, int(one), f"one{group}@names.example"):
            self._says(one, org, text)
        for text in (other, f"other{group}@names.example"):
            self._says(other, org, text)

    def _lookalikes(self, group: int, org: str) -> None:
        for user, name in ((f"low{group}", f"kim{group}"), (f"high{group}", f"Kim{group}")):
            self._entry(self.first, user, org, username=name)
            self._says(user, org, name)
            self._says(user, org, user)

    def _learnt_later(self, group: int, org: str) -> None:
        user, mail, new = f"renamed{group}", f"before{group}@wed.example", f"after{group}@wed.example"
        self._entry(self.first, user, org, email=mail)
        self._entry(self.later, user, org, email=mail, aliases=[new])
        for text in (mail, new, new.upper(), user):
            self._says(user, org, text)
        late = f"late{group}"
        self._entry(self.later, late, org, email=f"Late{group}@new.example", username=f"newcomer{group}")
        for text in (late, f"late{group}@new.example", f"newcomer{group}"):
            self._says(late, org, text)

    def _strangers(self, group: int, org: str) -> None:
        nobody = f"nobody{group}@else.example"
        self.unknowable.add(nobody)
        for text in (nobody, nobody.upper()):
            self._says(nobody, org, text)
        guest = f"guest{group}@out.example"
        for text in (guest, guest.upper(), f" {guest}"):
            self._chats(guest, org, text)

    def _entry(self, where: list[Message], user: str, org: str, **more: Any) -> None:
        entry = {"user_id": user, "org_id": org, "licensed": True, **more}
        where.append(Message("users", user.encode(), json.dumps(entry).encode()))

    def _says(self, person: str, org: str, text: str | int) -> None:
        """Let *person* do something under the name *text*, once in each week."""
        for week in range(WEEKS):
            name = self.chance.choice(_NAMES)
            fields = {"event_id": self._id(), "name": name, "distinct_id": text, "time": self._time(week)}
            self._send("product-events", person, text, fields)

    def _chats(self, person: str, org: str, text: str) -> None:
        fields = {"message_id": self._id(), "author": text, "time": self._time(), "channel": org, "org_id": org}
        self._send("chat-messages", person, text, fields)

    def _acts(self, person: str, org: str, text: str | int) -> None:
        fields = {"id": self._id(), "org": org, "userid": text, "created": self._time(), "ghost": 0, "action": "view"}
        self._send("syslog-activities", person, text, fields)

    def _send(self, topic: str, person: str, text: str | int, fields: dict[str, Any]) -> None:
        assert self.owner.setdefault(str(text), person) == person, text
        self.messages.append(Message(topic, str(text).encode(), json.dumps(fields).encode()))

    def _id(self) -> str:
        self._number += 1
        return f"hard-{self._number}"

    def _time(self, week: int | None = None) -> str:
        """Return a time in the *week* last but so many, in any when left out."""
        ago = self.chance.randrange(WEEKS) if week is None else week
        at = self.end - (ago + self.chance.random()) * _WEEK_SECONDS
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
