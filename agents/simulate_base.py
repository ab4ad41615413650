"""Owns the made-up company base: orgs, their users, the directory that describes them.

Invariant: a base is a pure function of its seed and sizes; the same seed gives the same people, names and weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLIPPING_ORG = "northwind"
INTERNAL_ORG = "homebase"
MIN_USERS = 40
ARCHETYPES = ("power", "regular", "viewer", "receiver", "repeater", "analyst", "admin", "bot")
BOT = ARCHETYPES.index("bot")
_ARCHETYPE_SHARES = (0.08, 0.41, 0.22, 0.09, 0.08, 0.07, 0.05, 0.0)
_JOB_TYPES = ("analyst", "engineer", "manager", "operations", "sales", "support", "finance", "executive")
_ZONES = (
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "Europe/London", "Europe/Vienna",
    "Europe/Helsinki", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "America/St_Johns",
    "Asia/Tokyo", "Asia/Singapore", "Africa/Nairobi", "Pacific/Auckland",
)  # fmt: skip
_FIRST = (
    "ada", "ben", "chloe", "dario", "emma", "farid", "grace", "hugo", "ines", "jonas", "kira", "liam", "mona", "nils",
    "olga", "paul", "quinn", "rosa", "sven", "tara", "uma", "viktor", "wendy", "xavier", "yara", "zoe",
)  # fmt: skip
_LAST = (
    "adler", "brandt", "costa", "dorsey", "engel", "fischer", "garcia", "huber", "ito", "jensen", "khan", "lopez",
    "meyer", "novak", "okafor", "patel", "reyes", "singh", "tanaka", "urban", "vogel", "weber", "yilmaz", "zhang",
)  # fmt: skip
_ORG_FIRST = ("alder", "birch", "cobalt", "delta", "ember", "fjord", "granite", "harbor", "iris", "jade", "krona",
              "lumen", "maple", "nimbus", "opal", "prairie", "quartz", "river", "summit", "terra")  # fmt: skip
_ORG_LAST = ("analytics", "bank", "capital", "energy", "foods", "health", "labs", "logistics", "media", "works")


class Message(NamedTuple):
    """One record for Kafka; `topic` is the name without prefix, `value` is `None` for a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class SimulatedOrg:
    """One customer."""

    id: str
    name: str
    account_value_usd: int
    group_type: str | None
    timezone: str
    licenses: int


@dataclass(frozen=True, slots=True)
class SimulatedUser:
    """One person (or bot); `later_email` is an alias that the directory does not know at first."""

    id: str
    org: int
    email: str
    username: str
    display_name: str
    """What people call them; empty = the directory doesn't say."""
    aliases: tuple[str, ...]
    later_email: str | None
    job_type: str
    licensed: bool
    bot: bool


@dataclass(frozen=True)
class Base:
    """The company base, with everything about users that is drawn from as arrays by user number."""

    seed: int
    orgs: tuple[SimulatedOrg, ...]
    users: tuple[SimulatedUser, ...]
    org_of: Ints
    weight: Floats
    """Expected activities a week, relative; 0 for idle seats."""
    presence: Floats
    """Chance of being active at all in a week."""
    archetype: Ints
    org_trade: Floats
    """Expected transactions a week by org, relative; 0 for orgs that trade nothing."""

    @property
    def slipping(self) -> int:
        """Return the number of the org whose use fades."""
        return next(number for number, org in enumerate(self.orgs) if org.id == SLIPPING_ORG)


def generator(*seeds: int) -> np.random.Generator:
    """Return a generator that depends on nothing but *seeds* (kept apart from NumPy's changing default)."""
    return np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds]))


def make_base(seed: int, orgs: int = 240, users: int = 3200) -> Base:
    """Make a base with heavy tails: a few large orgs, a median of two to five users, a few very busy users.

    Raises:
        ValueError: If there are fewer than 3 orgs, or too few users for one each and the two named orgs.
    """
    if orgs < 3 or users < orgs + MIN_USERS:
        raise ValueError(f"{orgs} orgs and {users} users: needs at least 3 orgs and {MIN_USERS} users more than orgs")
    rng = generator(seed, 1)
    sizes = _org_sizes(rng, orgs, users)
    org_of = np.repeat(np.arange(orgs), sizes)
    made_orgs = _make_orgs(rng, sizes)
    slipping = org_of == 0
    weight = np.minimum(rng.lognormal(0.0, 1.4, users), 40.0)
    presence = np.clip(rng.beta(2.0, 1.0, users) + np.minimum(weight, 5.0) / 10, 0.05, 1.0)
    idle = rng.random(users) < 0.18
    bots = (rng.random(users) < 0.015) & ~idle & ~slipping
    weight[slipping] = rng.uniform(1.5, 6.0, int(slipping.sum()))
    presence[slipping] = 1.0
    weight[idle] = 0.0
    weight[bots] = rng.uniform(5.0, 30.0, int(bots.sum()))
    archetype = rng.choice(len(ARCHETYPES), users, p=_ARCHETYPE_SHARES)
    archetype[slipping] = rng.choice(2, int(slipping.sum()))
    archetype[bots] = BOT
    trade = rng.lognormal(0.0, 1.5, orgs) * (rng.random(orgs) < 0.75)
    trade[0] = max(float(trade[0]), 3.0)
    people = _make_users(rng, made_orgs, org_of, idle, bots)
    return Base(seed, made_orgs, people, org_of, weight, presence, archetype, trade)


def _org_sizes(rng: np.random.Generator, orgs: int, users: int) -> Ints:
    """Return users by org, every org at least one: number 0 is the slipping one, number 1 the operator's own."""
    fixed = np.array([max(12, users // 70), 10])
    shares = rng.lognormal(0.0, 1.36, orgs - 2)
    left = users - int(fixed.sum()) - (orgs - 2)
    extra = np.floor(shares / shares.sum() * left).astype(np.int64)
    extra[np.argsort(-shares, kind="stable")[: left - int(extra.sum())]] += 1
    return np.concatenate([fixed, extra + 1])


def _make_orgs(rng: np.random.Generator, sizes: Ints) -> tuple[SimulatedOrg, ...]:
    made = [
        SimulatedOrg(SLIPPING_ORG, "Northwind Traders", 180_000, None, "America/Chicago", int(sizes[0]) + 4),
        SimulatedOrg(INTERNAL_ORG, "Homebase", 0, "Internal", "Europe/Vienna", int(sizes[1])),
    ]
    values = rng.lognormal(10.2, 1.3, len(sizes))
    for number in range(2, len(sizes)):
        first, last = _ORG_FIRST[number % 20], _ORG_LAST[number // 20 % 10]
        identity = str(5000 + number) if rng.random() < 0.25 else f"{first}-{last}" + (
            f"-{number // 200}" if number >= 200 else "")  # fmt: skip
        value = int(values[number] * (1 + sizes[number] / 10))
        group = None if rng.random() < 0.7 else ("SMB" if value < 50_000 else "Enterprise")
        zone = _ZONES[int(rng.integers(len(_ZONES)))]
        licenses = int(sizes[number]) + int(rng.integers(0, 4))
        made.append(SimulatedOrg(identity, f"{first} {last}".title() + " Ü", value, group, zone, licenses))
    return tuple(made)


def _make_users(
    rng: np.random.Generator, orgs: tuple[SimulatedOrg, ...], org_of: Ints, idle: NDArray[np.bool_],
    bots: NDArray[np.bool_],
) -> tuple[SimulatedUser, ...]:  # fmt: skip
    count = len(org_of)
    first, last = rng.integers(len(_FIRST), size=count), rng.integers(len(_LAST), size=count)
    numeric, licensed, later = rng.random(count) < 0.3, rng.random(count) >= 0.06, rng.random(count) < 0.04
    job = rng.integers(len(_JOB_TYPES), size=count)
    made = []
    for number in range(count):
        org = int(org_of[number])
        given, family = _FIRST[first[number]], _LAST[last[number]]
        identity = str(11_000 + number) if numeric[number] else f"u-{number:05d}"
        domain = f"{orgs[org].id}.example"
        made.append(
            SimulatedUser(
                id=identity,
                org=org,
                email=f"{given}.{family}.{number}@{domain}",
                username=f"{given[0]}{family}{number}",
                display_name=f"{given} {family}".title() if number % 4 else "",
                # Exports of number columns with gaps write whole numbers as fractions.
                aliases=(f"{identity}.0",) if numeric[number] and number % 3 == 0 else (),
                later_email=f"{given}.{family}.{number}@new.{domain}" if later[number] and not idle[number] else None,
                job_type=_JOB_TYPES[job[number]],
                licensed=bool(licensed[number]) or org == 0,
                bot=bool(bots[number]),
            )
        )
    return tuple(made)


def user_message(base: Base, user: SimulatedUser, more_aliases: tuple[str, ...] = ()) -> Message:
    """Return the directory's entry of one user."""
    entry: dict[str, Any] = {"user_id": user.id, "org_id": base.orgs[user.org].id, "email": user.email}
    entry["username"] = user.username
    if user.display_name:
        entry["display_name"] = user.display_name
    if user.aliases or more_aliases:
        entry["aliases"] = [*user.aliases, *more_aliases]
    entry["job_type"] = user.job_type
    if not user.licensed:
        entry["licensed"] = False
    if user.bot:
        entry["bot"] = True
    return Message("users", user.id.encode(), orjson.dumps(entry))


def directory(base: Base) -> Iterator[Message]:
    """Yield the directory: every org, then every user, as it is before the history begins."""
    for org in base.orgs:
        entry: dict[str, Any] = {"org_id": org.id, "name": org.name, "account_value_usd": org.account_value_usd}
        if org.group_type is not None:
            entry["group_type"] = org.group_type
        entry |= {"timezone": org.timezone, "licenses": org.licenses}
        yield Message("orgs", org.id.encode(), orjson.dumps(entry))
    for user in base.users:
        yield user_message(base, user)
