"""What happens when somebody is to be forgotten: in the state of their org's shard.

Owns the rule by which a person goes and their org's figures stay. Invariant: nothing in the shard names the person
any more, or holds what they did as a person's; and no figure of anybody else is another one by it, but for what is a
share of the org.

    gone                rolling week, scores, contributions, past weeks, hours, single amounts, display name, job type,
                        membership, place among movers and writers, and whatever was still to be told of them
    stays, as nobody's  counts, sums and active users of the org's calendar weeks, messages by ten minutes, grids of
                        latency
    stays, as a number  open messages and replies, so that answers of others find them: the author is a slot without
                        a name, and what follows from them is counted as the org's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace as msgspec_replace

from state.activity import Correction, Forget
from state.effects import Alert, Effect, Gone, OrgScore, UserScore, WeekRow
from state.forgotten import Guard, digest_of
from state.ring import Slots

if TYPE_CHECKING:
    from state.shard import Shard


def forget(shard: Shard, record: Forget) -> list[Effect]:
    """Forget the users that *record* means; return what is to be said of it. Doing it again changes nothing."""
    subjects, said = shard.subjects, list[Effect]()
    number = subjects.org_number(record.org)
    by_digest = {
        digest_of(record.salt, subjects.user(slot)): slot
        for slot in subjects.members_of(np.array([number]))[0].tolist()
        if subjects.heir(slot) == slot
    }
    for digest in record.digests:
        slot = by_digest.get(digest)
        if slot is not None:
            user = subjects.user(slot)
            _erase(shard, slot, subjects.orgs[number].slot)
            shard.said = [left for each in shard.said if (left := _without(each, record.org, user)) is not None]
            said.append(Gone(record.org, user))
        else:
            slot = subjects.nameless(record.org)
        if record.until_ms > shard.watermark_ms:
            subjects.guards.add(record.org, Guard(record.salt, digest, slot, record.until_ms))
    shard.grow()
    if said:
        shard.board.touch_org(number)
        shard.chat.touch(number)
    return said


def _erase(shard: Shard, slot: int, heir: int) -> None:
    """Take everything from *slot*; *heir* (its org's) has what stays as nobody's."""
    shard.week.forget(slot)
    shard.history.hand_over(slot, heir)
    shard.chat.hand_over(slot, heir)
    shard.closing.forget(slot)
    shard.board.forget(slot)
    if shard.shadow is not None:
        shard.shadow.forget(slot)
    shard.subjects.forget(slot)


def _without(effect: Effect, org: str, user: str) -> Effect | None:
    """Return *effect* without a user; None = it was about them."""
    match effect:
        case UserScore() | WeekRow() if (effect.org, effect.user) == (org, user):
            return None
        case OrgScore() if effect.org == org:
            effect.movers = [(who, moved) for who, moved in effect.movers if who != user]
        case Alert() if effect.org == org and effect.causes is not None:
            _without(effect.causes, org, user)
    return effect


def without_forgotten(record: Correction, slots: Slots, forgotten: list[int]) -> Correction:
    """Return *record* without what it says of those who were *forgotten* since; *slots* are those of its subjects."""
    gone = {place for place, slot in enumerate(slots.tolist()) if slot in forgotten}
    if not gone:
        return record
    rows = [row for row in record.rows if row[0] not in gone]
    since = [entry for entry in record.since if entry[0] not in gone]
    return msgspec_replace(record, rows=rows, since=since)
