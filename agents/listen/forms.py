"""Owns which addresses there are, and how a body that comes there becomes messages.

Invariant: each row of a body is accepted, ignored or refused, and the refused ones are named by their index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from agents.listen import mixpanel_form, own_form, segment_form
from agents.listen.auth import Grant, Tokens
from agents.listen.rows import Message, Refused, Sorted, rows_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What a sender has sent."""

    body: bytes
    content_type: str
    authorization: str
    now_seconds: float
    longest_row: int
    most_rows: int


@dataclass(frozen=True, slots=True)
class Form:
    """One address: its name in metrics, who answers like whom, what it takes."""

    name: str
    kind: str
    sort: Callable[[Form, Asked, Tokens], Sorted]
    call: str = ""


UNKNOWN_SENDER = Refused(
    "unknown_token", "there is no known token", "Send `Authorization: Bearer TOKEN`, or the token as basic auth."
)


def _grant(form: Form, asked: Asked, tokens: Tokens) -> tuple[Grant | None, bool]:
    """Return what the header allows (None: there is no header), and whether it is a vendor's library's.

    Raises:
        Refused: If it allows nothing, or not this kind.
    """
    if not asked.authorization:
        return None, True
    grant, vendor = tokens.grant_of_header(asked.authorization)
    return _allowed(grant, form.kind), vendor


def _allowed(grant: Grant | None, kind: str) -> Grant:
    if grant is None:
        raise UNKNOWN_SENDER
    if kind not in grant.kinds:
        raise Refused("not_allowed", f"this token may not send {kind}", "Ask for a token with this topic.")
    return grant


def _sorted(rows: Iterable[bytes | Refused], read: Callable[[bytes], Sequence[Message]], *, vendor: bool) -> Sorted:
    """Read every row; what one refuses is noted with its index."""
    found = Sorted(vendor=vendor)
    for index, row in enumerate(rows):
        try:
            if isinstance(row, Refused):
                raise row
            messages = read(row)
        except Refused as refusal:
            found.refused.append((index, refusal))
            continue
        found.messages.extend(messages)
        found.accepted += bool(messages)
        found.ignored += not messages
    return found


def sort_own(form: Form, asked: Asked, tokens: Tokens) -> Sorted:
    """Read a body in the system's own form; only a header proves the sender."""
    grant, _ = _grant(form, asked, tokens)
    known = _allowed(grant, form.kind)
    read = {"events": own_form.event, "transactions": own_form.transaction, "chat": own_form.chat}[form.kind]
    rows = rows_of(asked.body, asked.longest_row, asked.most_rows)
    return _sorted(rows, lambda row: [read(row, known)], vendor=False)


def sort_mixpanel(form: Form, asked: Asked, tokens: Tokens) -> Sorted:
    """Read a body in Mixpanel's form; without a header each row carries its token."""
    grant, vendor = _grant(form, asked, tokens)
    body, verbose = mixpanel_form.body_of(asked.body, asked.content_type)

    def read(row: bytes) -> list[Message]:
        known = grant or _allowed(tokens.grant_of(mixpanel_form.token_of(row)), form.kind)
        return [mixpanel_form.event(row, known, asked.now_seconds)]

    found = _known(_sorted(rows_of(body, asked.longest_row, asked.most_rows), read, vendor=vendor))
    found.verbose = verbose
    return found


def sort_segment(form: Form, asked: Asked, tokens: Tokens) -> Sorted:
    """Read a call or a batch in Segment's form; without a header the body carries its write key."""
    grant, vendor = _grant(form, asked, tokens)
    if form.call == "batch":
        batch = segment_form.batch_of(asked.body)
        known = grant or _allowed(tokens.grant_of(batch.write_key), form.kind)
        calls, kind, sent_at = batch.calls, "", batch.sent_at
    else:
        known = grant or _allowed(tokens.grant_of(segment_form.write_key_of(asked.body)), form.kind)
        calls, kind, sent_at = [asked.body.strip()], form.call, None
    if len(calls) > asked.most_rows:
        raise Refused("too_many_rows", f"{len(calls)} calls, at most {asked.most_rows}", "Send fewer a batch.")

    def read(row: bytes) -> list[Message]:
        if len(row) > asked.longest_row:
            said = f"{len(row)} bytes, at most {asked.longest_row}"
            raise Refused("too_large", said, "Leave out what nobody counts.")
        return segment_form.call(row, kind, known, asked.now_seconds, sent_at)

    return _sorted(calls, read, vendor=vendor)


def _known(found: Sorted) -> Sorted:
    """Return *found*, unless every row was of an unknown sender.

    Raises:
        Refused: In that case: the whole request is not allowed.
    """
    first = found.refused[0][1] if found.refused else None
    alike = first is not None and not found.accepted and {each.reason for _, each in found.refused} == {first.reason}
    if first is not None and alike and first.reason in ("unknown_token", "not_allowed"):
        raise first
    return found


FORMS: dict[str, Form] = {
    "/v1/events": Form("events", "events", sort_own),
    "/v1/transactions": Form("transactions", "transactions", sort_own),
    "/v1/chat": Form("chat", "chat", sort_own),
    "/mixpanel/track": Form("mixpanel", "events", sort_mixpanel, "track"),
    "/mixpanel/import": Form("mixpanel", "events", sort_mixpanel, "import"),
    **{f"/segment/v1/{call}": Form("segment", "events", sort_segment, call) for call in (*segment_form.CALLS, "batch")},
    "/segment/v1/call": Form("segment", "events", sort_segment),
}
"""Address → what is taken there."""
