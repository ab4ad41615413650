"""One write to Redis: what it holds, and the Lua script that applies it all at once.

Invariant: a key never goes back. A write whose fence is older than the stored one changes nothing. A change entry is
appended only when its fence is newer than the stored one and the hash does not show its outcome already, so telling
again appends nothing twice; and where the hash shows an older band than what is told again, the entry that got lost
on its way (with a worker that died, or beyond a limit) is appended from `missed`, unless the hash is newer than that.
So each entry of a subject leads from where the one before led to.

The script uses only commands and libraries that Redis 6.2+ and Valkey share. Values cross as text, because Lua
returns truncate floats. Several writes share one call: the cost of a call is then paid once per batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import msgspec

CHANGES = "changes"  # the stream of score and band changes, key without prefix


Entry: TypeAlias = Mapping[str, str]  # one of the `changes` stream
Missed: TypeAlias = Mapping[str, Entry]  # by the band that is shown, the entry that it lacks


class Write(msgspec.Struct, frozen=True):
    """The absolute state of one key, as of one position of the log.

    Attributes:
        key: Without prefix, e.g. ``user:{acme}:u1``.
        fields: The whole hash, text; fields not named go. Empty deletes the subject and leaves a tombstone.
        fence: Fixed-width text like ``0000.000000000000123``. Older than the stored one is refused, equal is
            applied again (values are absolute, so that changes nothing but the TTL).
        ranks: ``(sorted set without prefix, member, score)``; a score of None removes the member.
        change: An entry for the ``changes`` stream, or None.
        partition: The activities partition it came from; -1 = none.
        missed: For what is told again: by the band that the hash may show still ("" = no hash), the entry that it
            then lacks.
    """

    key: str
    fields: Mapping[str, str]
    fence: str
    ranks: tuple[tuple[str, str, float | None], ...] = ()
    change: Entry | None = None
    partition: int = -1
    missed: Missed | None = None


class Told(NamedTuple):
    """What a write says of its change: its fence, and the entry or, of what is told again, what may be missed."""

    fence: str
    change: Entry | None
    missed: Missed | None = None


Queued: TypeAlias = tuple[Write, tuple[Told, ...]]  # a write, and what those it replaced on its way said, by fence


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many writes of one script call were applied, applied again, refused as old, or could not be applied."""

    applied: int
    repeated: int
    fenced: int
    spoiled: int
    error: str


# The hash is set over the old one and only rebuilt when fields are left over: half the cost of deleting it first.
# KEYS[1] = the changes stream, the others as the payload names them by index.
# ARGV   = payload (msgpack), TTL in seconds, TTL of a tombstone in seconds, length of the changes stream.
SCRIPT = """
local writes = cmsgpack.unpack(ARGV[1])
local ttl, tombstone_ttl, maxlen = ARGV[2], ARGV[3], ARGV[4]
local call = redis.call
local applied, repeated, fenced, spoiled, said = 0, 0, 0, 0, ''
local renewed = {}
local rank = {at_risk = 1, watch = 2, healthy = 3}

local function renew(key)
  if not renewed[key] then
    call('EXPIRE', key, ttl)
    renewed[key] = true
  end
end

local function set_hash(key, fields)
  for i = 1, #fields, 1000 do
    call('HSET', key, unpack(fields, i, math.min(i + 999, #fields)))
  end
end

-- An entry before this one may have got lost: this one then leads from what readers saw last.
local function lead_from(entry, band, to)
  for i = 1, #entry, 2 do
    if entry[i] == 'from' then entry[i + 1] = band end
    if entry[i] == 'cause' and rank[band] and rank[to] then
      entry[i + 1] = rank[to] < rank[band] and 'drop' or 'rise'
    end
  end
end

local function apply(write)
  local key, fence, fields, ranks, changes = KEYS[write[1]], write[2], write[3], write[4], write[5]
  local held = call('HMGET', key, 'fence', 'band')
  local stored, band = held[1], held[2]
  if stored and stored > fence then
    fenced = fenced + 1
    return
  end
  for i = 1, #changes do
    local since, to, entry, missed = changes[i][1], changes[i][2], changes[i][3], changes[i][4]
    local due = not stored or since > stored
    if missed then -- by the band that is shown, the entry that got lost; '' = there is no hash yet
      entry = entry[band or '']
      due = entry and (due or since == stored)
    end
    if due and to ~= band then
      if band then lead_from(entry, band, to) end
      call('XADD', KEYS[1], 'MAXLEN', '~', maxlen, '*', unpack(entry))
      renew(KEYS[1])
      band = to
    end
  end
  if #fields == 0 then
    call('DEL', key)
    call('HSET', key, 'deleted', '1', 'fence', fence)
    call('EXPIRE', key, tombstone_ttl)
  else
    set_hash(key, fields)
    if call('HLEN', key) * 2 ~= #fields then
      call('DEL', key)
      set_hash(key, fields)
    end
    call('EXPIRE', key, ttl)
  end
  for i = 1, #ranks do
    local set, member, score = KEYS[ranks[i][1]], ranks[i][2], ranks[i][3]
    if score == '' then
      call('ZREM', set, member)
      renewed[set] = nil
    else
      call('ZADD', set, score, member)
      renew(set)
    end
  end
  if stored == fence then repeated = repeated + 1 else applied = applied + 1 end
end

for i = 1, #writes do
  local ok, problem = pcall(apply, writes[i])
  if not ok then
    local text = type(problem) == 'table' and problem.err or tostring(problem)
    if string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'not a valid float', 1, true) then
      spoiled = spoiled + 1
      said = KEYS[writes[i][1]] .. ': ' .. text
    else
      return redis.error_reply(text)
    end
  end
end
return {applied, repeated, fenced, spoiled, said}
"""
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

_encode = msgspec.msgpack.Encoder().encode


def pack(batch: Sequence[Queued], prefix: str) -> tuple[list[str], bytes]:
    """Return the keys the script declares, with *prefix*, and its payload.

    >>> keys, _ = pack([(Write("user:{a}:u", {"score": "1.00"}, "0001", (("orgs", "a", 1.0),)), ())], "p:")
    >>> keys
    ['p:changes', 'p:user:{a}:u', 'p:orgs']
    """
    index: dict[str, int] = {CHANGES: 1}
    place = index.setdefault
    rows = []
    for write, earlier in batch:
        changes: list[Any] = []
        for fence, change, missed in (*earlier, Told(write.fence, write.change, write.missed)):
            if change:
                changes.append((fence, change.get("to", ""), _flat(change), False))
            if missed:
                to = next(iter(missed.values())).get("to", "")  # all of them lead to the same
                changes.append((fence, to, {band: _flat(entry) for band, entry in missed.items()}, True))
        rows.append(
            (
                place(write.key, len(index) + 1),
                write.fence,
                _flat({**write.fields, "fence": write.fence}) if write.fields else [],
                [
                    (place(key, len(index) + 1), member, "" if score is None else repr(float(score)))
                    for key, member, score in write.ranks
                ],
                changes,
            )
        )
    return [prefix + key for key in index], _encode(rows)


def _flat(fields: Mapping[str, str]) -> list[str]:
    return list(chain.from_iterable(fields.items()))


def outcome_of(reply: Sequence[int | bytes | str]) -> Outcome:
    """Return what the script said, as figures and the text of the last error."""
    said = reply[4]
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return Outcome(int(reply[0]), int(reply[1]), int(reply[2]), int(reply[3]), text)
