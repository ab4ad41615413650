"""The answers to everything that is asked, before they become JSON or HTML.

Owns which questions go to Redis for what; each answer takes a bounded number of round trips. Invariant: what isn't
there is a `ProblemError` that names it, never an empty page.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.page.api_types import RedisState
from agents.page.asking import Asking
from agents.page.choose import Choice, Part, choose
from agents.page.problems import ProblemError, not_found
from reports.short_text import plain_name
from streams.published import Alert, LatencyMap, OrgScore, Totals, UserScore
from streams.published_chat import ChatActivity
from streams.published_index import OrgLine
from streams.published_workers import WorkerCard
from streams.reader_questions import ALL, Ranking

MOST_ALERTS = 1000


class Answers:
    """What the page knows."""

    def __init__(self, ask: Asking, card: Callable[[], WorkerCard]) -> None:
        """Ask through *ask*; *card* says how this worker is."""
        self.ask, self.card = ask, card

    async def orgs(self, choice: Choice) -> tuple[list[OrgScore], list[OrgLine], list[OrgLine]]:
        """Return the orgs of one page, the lines of all that were found, and of all there are."""
        lines = await self.ask.lines()
        found = choose(lines, choice)
        wanted = found[choice.part.skip :][: choice.part.per_page]
        documents = await self.ask(self.ask.reader.orgs(line.org for line in wanted)) if wanted else []
        return [each for each in documents if each is not None], found, lines

    async def org(self, org: str) -> OrgScore:
        """Return an org.

        Raises:
            ProblemError: If it has no score.
        """
        found = await self.ask(self.ask.reader.org(org))
        if found is None:
            raise not_found(f'No org "{plain_name(org)}" has a score.', org)
        return found

    async def users(self, org: str, part: Part, band: str = "") -> tuple[list[UserScore], int]:
        """Return users of an org, lowest score first, and how many have a score."""
        reader = self.ask.reader
        count = await self.ask(reader.user_count(org))
        wanted = Ranking(part.per_page, band=band or None, skip=part.skip)
        return (await self.ask(reader.users_by_score(org, wanted)) if count else []), count

    async def user(self, org: str, user: str) -> UserScore:
        """Return a user.

        Raises:
            ProblemError: If it has no score.
        """
        found = await self.ask(self.ask.reader.user(org, user))
        if found is None:
            raise not_found(f'Org "{plain_name(org)}" has no user "{plain_name(user)}" with a score.')
        return found

    async def latency(self, org: str = ALL) -> LatencyMap:
        """Return an org's map, or that of all together.

        Raises:
            ProblemError: If there is none.
        """
        found = await self.ask(self.ask.reader.latency(org))
        if found is None:
            who = "all orgs together" if org == ALL else f'org "{plain_name(org)}"'
            raise not_found(f"No reply of {who} was seen in the months that are shown.")
        return found

    async def chat(self, org: str) -> ChatActivity:
        """Return an org's chat.

        Raises:
            ProblemError: If there is none.
        """
        found = await self.ask(self.ask.reader.chat(org))
        if found is None:
            raise not_found(f'No chat of org "{plain_name(org)}" in the last days.')
        return found

    async def totals(self) -> Totals:
        """Return the overall figures.

        Raises:
            ProblemError: If they are not known yet.
        """
        found = await self.ask(self.ask.reader.totals())
        if found is None:
            raise not_found("No totals yet: workers tell them once they have counted everybody.")
        return found

    async def alerts(self) -> list[Alert]:
        """Return the open alerts, newest first; at most `MOST_ALERTS`."""
        return await self.ask(self.ask.reader.open_alerts(MOST_ALERTS))

    async def newest_alerts(self, count: int) -> tuple[list[Alert], int]:
        """Return the newest open alerts, and how many are open."""
        reader = self.ask.reader
        return await self.ask(reader.open_alerts(count)), await self.ask(reader.alert_count())

    async def workers(self) -> tuple[list[WorkerCard] | None, RedisState]:
        """Return the other workers' cards (None = Redis does not tell), and how Redis is."""
        own = self.card().name
        try:
            found = [each for each in await self.ask(self.ask.reader.workers()) if each.name != own]
        except ProblemError as error:
            detail = f"{error.problem.title}: {error.problem.detail}"
            return None, RedisState(ok=False, since=self.ask.away_since, detail=detail)
        return found, RedisState(ok=True, since=None, detail="answers this page")
