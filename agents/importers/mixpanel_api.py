"""Owns asking Mixpanel's raw export: one day a query, within its limits, again when it fails.

Source: docs.mixpanel.com/reference/raw-event-export and /reference/rate-limits: 60 queries an hour, 3 a second, 100
at a time; 429 beyond; JSON lines, compressed on request; days in UTC, for projects from before 2023 in the project's
zone.

Invariant: a day is handed on only when all of it has come: whole by HTTP's own account, whole as gzip, its last line
whole.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import random
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import IO

import aiohttp

from agents.importers.source import InputError
from streams.settings_bridges import MixpanelSettings

HOSTS = {"us": "data.mixpanel.com", "eu": "data-eu.mixpanel.com", "in": "data-in.mixpanel.com"}
PER_HOUR, PER_SECOND = 60, 3
MOST_WAIT_SECONDS = 3600.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0
_FIRST_LIMIT_PAUSE_SECONDS = 60.0
_SILENCE_SECONDS = 300.0
"""A large day takes long to begin, and is not silent for long after that."""
_PIECE_BYTES, _TAIL_BYTES = 262_144, 1_048_576
_EARLY = b"terminated early"
"""What the export ends with when it fails in the middle of an answer."""


class Quota:
    """When the next query may go: at most so many in any second and any hour.

    >>> quota = Quota()
    >>> [quota.wait_seconds(at) for at in (0.0, 0.0, 0.0, 0.25)]
    [0.0, 0.0, 0.0, 0.75]
    """

    def __init__(self, per_second: int = PER_SECOND, per_hour: int = PER_HOUR) -> None:
        self._limits = ((1.0, per_second), (3600.0, per_hour))
        self._asked: deque[float] = deque(maxlen=per_hour)

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait before a query at *now* (monotonic seconds), and count it as sent then."""
        wait, asked = 0.0, list(self._asked)
        for seconds, most in self._limits:
            if len(asked) >= most:
                wait = max(wait, asked[-most] + seconds - now)
        self._asked.append(now + wait)
        return wait


class _AgainError(Exception):
    """The query failed in a way that may pass; `after_seconds` is what the server asks for, if it does."""

    def __init__(self, why: str, after_seconds: float | None = None, first_pause: float = _FIRST_PAUSE_SECONDS) -> None:
        super().__init__(why)
        self.after_seconds, self.first_pause = after_seconds, first_pause


@dataclass
class ExportClient:
    """Asks for days.

    Args:
        account: Who asks, and where.
        events: Only events of these names; empty: all.
        tries: How often a day is asked for before giving up.
        say: Told when it has to wait, and why.
    """

    account: MixpanelSettings
    events: tuple[str, ...] = ()
    tries: int = 10
    say: Callable[[str], None] = lambda text: None
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)
    quota: Quota = field(default_factory=Quota)

    @property
    def url(self) -> str:
        """Where the export is."""
        return self.account.url or f"https://{HOSTS[self.account.region]}/api/2.0/export"

    async def fetch(self, day: date, into: IO[bytes], most: int = 0) -> None:
        """Write a day, as it comes (compressed or not), into a file.

        Args:
            day: Which day.
            into: Emptied before each try.
            most: Ask for so many rows only; 0: all.

        Raises:
            InputError: If the account is refused, the query is wrong, or it failed too often.
        """
        for number in range(1, self.tries + 1):
            wait = self.quota.wait_seconds(time.monotonic())
            if wait > 1:
                self.say(f"{day}: waiting {_spoken(wait)}: {PER_HOUR} queries an hour are allowed")
            await self.pause(wait)
            into.seek(0)
            into.truncate()
            try:
                await self._ask(day, into, most)
                return
            except _AgainError as error:
                if number == self.tries:
                    raise InputError(f"Mixpanel, {day}: given up after {number} tries: {error}") from error
                wait = self._pause_seconds(error, number)
                self.say(f"{day}: {error}; again in {_spoken(wait)} (try {number} of {self.tries})")
                await self.pause(wait)

    def _pause_seconds(self, error: _AgainError, number: int) -> float:
        """Return how long to wait: what the server asks for, else twice as long each time, with jitter."""
        if error.after_seconds is not None:
            return min(MOST_WAIT_SECONDS, error.after_seconds) + self.chance.random()
        longest: float = min(_LONGEST_PAUSE_SECONDS, error.first_pause * 2 ** (number - 1))
        return longest * (0.5 + self.chance.random() / 2)

    async def _ask(self, day: date, into: IO[bytes], most: int) -> None:
        asked = {"from_date": day.isoformat(), "to_date": day.isoformat(), "time_in_ms": "true"}
        if self.account.project_id:
            asked["project_id"] = self.account.project_id
        if self.events:
            asked["event"] = json.dumps(list(self.events))
        if most:
            asked["limit"] = str(min(most, 100_000))
        patience = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_SILENCE_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False, timeout=patience) as session,
                session.get(self.url, params=asked, headers=self._headers()) as answer,
            ):
                if answer.status != 200:
                    raise await self._refusal(answer)
                await _whole(answer, into)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _AgainError(f"the answer did not come whole ({error or type(error).__name__})") from error

    def _headers(self) -> dict[str, str]:
        """Return what proves who asks: a service account, or a project's API secret as a name without a password."""
        account = self.account
        proof = f"{account.username}:{account.secret}" if account.username else f"{account.secret}:"
        return {**_HEADERS, "Authorization": f"Basic {base64.b64encode(proof.encode()).decode()}"}

    async def _refusal(self, answer: aiohttp.ClientResponse) -> Exception:
        """Return what an answer other than 200 means."""
        body = (await answer.content.read(2_000)).decode("utf-8", "replace")
        try:
            said = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            said = " ".join(body.split())[:200]
        if answer.status == 429:
            return _AgainError(
                "its limit of queries is reached (429)", _retry_after(answer), _FIRST_LIMIT_PAUSE_SECONDS
            )
        if answer.status >= 500 or answer.status == 408:
            return _AgainError(f"it answers {answer.status}", _retry_after(answer))
        if answer.status in (401, 402, 403):
            hint = "check ORGPULSE_MIXPANEL_USERNAME, _SECRET (or _SECRET_FILE), _PROJECT_ID and the region"
            return InputError(f"Mixpanel refuses ({answer.status}): {said}: {hint}")
        return InputError(f"Mixpanel does not take the query ({answer.status}): {said}")


_HEADERS = {"Accept": "text/plain", "Accept-Encoding": "gzip", "User-Agent": "orgpulse"}


async def _whole(answer: aiohttp.ClientResponse, into: IO[bytes]) -> None:
    """Write an answer into a file, and see that it is whole.

    Raises:
        _AgainError: If it is not.
    """
    packed = answer.headers.get("Content-Encoding", "").lower() == "gzip"
    unpack, tail = zlib.decompressobj(31), b""
    async for piece in answer.content.iter_chunked(_PIECE_BYTES):
        into.write(piece)
        if not packed:
            tail = (tail + piece)[-_TAIL_BYTES:]
            continue
        try:
            while piece:
                if unpack.eof:  # gzip may have several members
                    unpack = zlib.decompressobj(31)
                tail = (tail + unpack.decompress(piece, _TAIL_BYTES))[-_TAIL_BYTES:]
                piece = unpack.unconsumed_tail or unpack.unused_data
        except zlib.error as error:
            raise _AgainError(f"the compressed answer is damaged ({error})") from error
    if packed and into.tell() and not unpack.eof:
        raise _AgainError("the compressed answer is cut off")
    _check_end(tail)
    into.seek(0)


def _check_end(tail: bytes) -> None:
    """See that the last line is whole.

    Raises:
        _AgainError: If it is not, or says that the export failed.
    """
    last = tail.rstrip().rpartition(b"\n")[2]
    if last.strip() == _EARLY:
        raise _AgainError("the export says that it ended early")
    if last and not tail.endswith(b"\n"):
        try:
            json.loads(last)
        except ValueError:
            raise _AgainError("the answer ends within a line") from None


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or as a date."""
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
        base = email.utils.parsedate_to_datetime(answer.headers["Date"])
    except (ValueError, TypeError, KeyError):
        return None
    return max(0.0, (_aware(then) - _aware(base)).total_seconds())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
