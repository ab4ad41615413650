"""What reports have of Redis: chat activity and reply latency.

Invariant: an org that is named and not there ends the command with the nearest names; in a report of everything it is
a sentence instead.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.cli_errors import ToldError, told, unknown
from agents.cli_show import reading
from agents.latency_data import Shown, gather
from agents.latency_output import heading
from agents.latency_request import Wish
from agents.report_chat import chat_section
from agents.report_latency import latency_section
from agents.report_request import Request
from reports.report_table import Section
from streams.published_chat import ChatActivity
from streams.reader import ALL, Reader
from streams.settings import Settings

CHATS_SHOWN = 5


def chat_sections(settings: Settings, request: Request) -> list[Section]:
    """Return chat activity: of the orgs that were named, else of those in which most was written.

    Raises:
        ToldError: If there is none.
    """
    with reading(settings) as reader:
        found = [_chat_of(reader, org) for org in request.orgs] or _liveliest(reader)
    if not found:
        days = settings.chat.window_days
        raise ToldError(f"no org has chat activity in the last {days} days", "`orgpulse import chat` brings some in")
    return [chat_section(found, request.first, request.last)]


def latency_sections(settings: Settings, request: Request, now_seconds: float) -> list[Section]:
    """Return the maps of the orgs that were named, else of all together.

    Raises:
        ToldError: If there is none.
    """
    wish = Wish(period=request.months)
    found: list[tuple[str, Shown]] = []
    with reading(settings) as reader:
        for org in request.orgs or (ALL,):
            shown = gather(reader, org, wish, settings.latency, now_seconds)
            found.append((heading(shown), shown))
    return [latency_section(found)]


def or_why_not(name: str, build: Callable[[], list[Section]]) -> list[Section]:
    """Return the sections, or one that says why there is nothing."""
    try:
        return build()
    except Exception as error:
        plain = told(error) if not isinstance(error, ToldError) else error
        if plain is None:
            raise
        why = f"Nothing to show: {plain.message}." + (f" {plain.remedy}." if plain.remedy else "")
        return [Section(name, {"chat": "Chat", "latency": "Reply latency"}[name], why, ())]


def _chat_of(reader: Reader, org: str) -> ChatActivity:
    found = reader.chat(org)
    if found is None:
        raise unknown(org, reader.org_ids(), f'no chat activity of "{org}" in the last days')
    return found


def _liveliest(reader: Reader) -> list[ChatActivity]:
    found = [chat for org in reader.org_ids() if (chat := reader.chat(org)) is not None]
    return sorted(found, key=lambda chat: (-(chat.messages_total or 0), chat.org))[:CHATS_SHOWN]
