"""Mixpanel's export from a server that behaves as its documentation says: limits, failures, days."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from agents.cli_import import import_group
from agents.importers.mixpanel_api import PER_HOUR, ExportClient, Quota
from agents.importers.source import InputError
from streams.settings import Settings, override
from streams.settings_bridges import MixpanelSettings
from streams.topic_specs import topic_names
from tests.agents.listen.process import records

NAME, SECRET, PROJECT = "reader.1a2b", "the secret of a service account", "12345"


class Mixpanel:
    """A stub of the export: days with rows, and what goes wrong at the next queries, in order.

    Faults: a status (with `Retry-After` where it says `429:7`), `cut` (the connection ends within the answer), `early`
    (the export says so), `half gzip`, `half line`.
    """

    def __init__(self) -> None:
        self.days: dict[str, list[dict[str, Any]]] = {}
        self.faults: list[str] = []
        self.asked: Counter[str] = Counter()
        self.queries: list[dict[str, str]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Mixpanel:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        return self

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/2.0/export", self._export)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/2.0/export"

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    async def _export(self, request: web.Request) -> web.StreamResponse:
        proof = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if proof != f"{NAME}:{SECRET}" or request.query.get("project_id") != PROJECT:
            return web.json_response({"error": "Unable to authenticate request", "status": "error"}, status=401)
        first, last = request.query["from_date"], request.query["to_date"]
        if first > datetime.now(UTC).date().isoformat():
            return web.json_response({"error": "from_date cannot be later than today", "status": "error"}, status=400)
        self.asked[first] += 1
        self.queries.append(dict(request.query))
        fault = self.faults.pop(0) if self.faults else ""
        if fault[:3].isdigit():
            status, _, after = fault.partition(":")
            headers = {"Retry-After": after} if after else {}
            return web.Response(status=int(status), text="exceeded", headers=headers)
        rows = [row for day, found in sorted(self.days.items()) if first <= day <= last for row in found]
        body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)[: -5 if fault == "half line" else None]
        if fault == "early":
            body = body[: len(body) // 2].rpartition(b"\n")[0] + b"\nterminated early\n"
        packed = gzip.compress(body)
        answer = web.StreamResponse(headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(packed[: len(packed) // 2] if fault in ("cut", "half gzip") else packed)
        if fault == "cut":
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write_eof()
        return answer


def event(number: int, day: str, **more: Any) -> dict[str, Any]:
    """Return an exported event."""
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00") + timedelta(seconds=number)
    properties = {
        "time": round(at.timestamp() * 1000),
        "distinct_id": f"u{number % 7}",
        "$insert_id": f"{day}-{number}",
    }
    return {"event": "Search", "properties": properties | more}


@pytest.fixture
def mixpanel() -> Iterator[Mixpanel]:
    with Mixpanel() as server:
        yield server


def account(mixpanel: Mixpanel, **changes: str) -> MixpanelSettings:
    named = {"username": NAME, "secret": SECRET, "project_id": PROJECT, "url": mixpanel.url, **changes}
    return MixpanelSettings(**named)  # type: ignore[arg-type]  # all of them are text


def fetched(mixpanel: Mixpanel, day: str, tries: int = 8, **changes: str) -> tuple[list[dict[str, Any]], list[float]]:
    """Return a day's rows, and how long the client paused."""
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    client = ExportClient(
        account(mixpanel, **changes), tries=tries, pause=pause, chance=random.Random(1), quota=Quota(99, 99)
    )
    file = io.BytesIO()
    asyncio.run(client.fetch(date.fromisoformat(day), file))
    text = gzip.decompress(file.getvalue())
    return [json.loads(line) for line in text.splitlines()], [wait for wait in paused if wait]


DAY = "2025-01-01"


def test_every_failure_that_may_pass_is_tried_again_until_the_day_is_whole(mixpanel: Mixpanel) -> None:
    mixpanel.days[DAY] = [event(number, DAY) for number in range(500)]
    mixpanel.faults = ["429:7", "503", "cut", "half gzip", "early", "half line", "500"]
    rows, paused = fetched(mixpanel, DAY)
    assert rows == mixpanel.days[DAY] and mixpanel.asked[DAY] == 8
    assert 7 <= paused[0] <= 8  # what the server asked for
    own = [wait for wait in paused[1:] if wait > 1]
    assert own == sorted(own) and own[-1] < 300, "each pause of one's own is longer, within its limit"
    assert mixpanel.queries[0]["from_date"] == mixpanel.queries[0]["to_date"] == DAY


def test_a_limit_without_a_time_is_waited_for_longer_than_an_error(mixpanel: Mixpanel) -> None:
    mixpanel.days[DAY], mixpanel.faults = [event(1, DAY)], ["429"]
    _, paused = fetched(mixpanel, DAY)
    assert 30 <= max(paused) <= 60


def test_it_gives_up_and_says_why(mixpanel: Mixpanel) -> None:
    mixpanel.faults = ["503"] * 3
    with pytest.raises(InputError, match=r"2025-01-01: given up after 3 tries: it answers 503"):
        fetched(mixpanel, DAY, tries=3)
    with pytest.raises(InputError, match=r"refuses \(401\): Unable to authenticate"):
        fetched(mixpanel, DAY, secret="a wrong one")
    with pytest.raises(InputError, match="from_date cannot be later than today"):
        fetched(mixpanel, "2999-01-01")
    assert mixpanel.asked[DAY] == 3, "what can't pass is not tried again"


def test_no_more_than_the_documented_queries_are_sent() -> None:
    quota, sent, chance = Quota(), list[float](), random.Random(3)
    now = 0.0
    for _ in range(200):
        now += chance.random() * 20
        now += quota.wait_seconds(now)
        sent.append(now)
    assert max(sum(at <= other < at + 3600 for other in sent) for at in sent) <= PER_HOUR
    assert max(sum(at <= other < at + 0.999 for other in sent) for at in sent) <= 3


def run(settings: Settings, mixpanel: Mixpanel, state: Path, *arguments: str) -> Result:
    changes = {
        f"mixpanel.{name}": getattr(account(mixpanel), name) for name in ("username", "secret", "url", "project_id")
    }
    command = ["mixpanel", "--state-dir", str(state), *arguments]
    return CliRunner().invoke(import_group, command, obj=override(settings, changes))


@pytest.mark.kafka
def test_days_come_to_kafka_once_and_only_what_is_missing_is_asked_for(
    settings: Settings, mixpanel: Mixpanel, tmp_path: Path
) -> None:
    days = [f"2025-01-0{number}" for number in range(1, 5)]
    mixpanel.days = {day: [event(number, day) for number in range(300)] for day in (days[0], days[2], days[3])}
    mixpanel.faults = ["", "", "cut", "400"]  # the second day is empty, the third at first cut, then refused
    asked = ("--from-date", days[0], "--to-date", days[3])
    first = run(settings, mixpanel, tmp_path, *asked, "--tries", "1")
    assert first.exit_code == 1 and "given up after 1 tries" in first.output, first.output
    second = run(settings, mixpanel, tmp_path, *asked)
    assert second.exit_code == 1 and "does not take the query (400)" in second.output, second.output
    third = run(settings, mixpanel, tmp_path, *asked)
    assert third.exit_code == 0, third.output
    assert "600 rows read, 600 sent" in third.output and "300 rows were sent by an earlier run" in third.output
    assert dict(mixpanel.asked) == {days[0]: 1, days[1]: 1, days[2]: 3, days[3]: 1}
    fourth = run(settings, mixpanel, tmp_path, *asked)
    assert fourth.exit_code == 0 and sum(mixpanel.asked.values()) == 6, fourth.output
    values = [json.loads(value) for _, value in records(settings, topic_names(settings).product_events)]
    assert sorted(each["properties"]["$insert_id"] for each in values) == sorted(
        row["properties"]["$insert_id"] for rows in mixpanel.days.values() for row in rows
    )


@pytest.mark.kafka
def test_today_is_asked_for_again_and_old_projects_times_are_brought_to_utc(
    settings: Settings, mixpanel: Mixpanel, tmp_path: Path
) -> None:
    today = datetime.now(UTC).date().isoformat()
    mixpanel.days[today] = [event(1, today)]
    for _ in range(2):
        done = run(settings, mixpanel, tmp_path, "--from-date", today, "--to-date", today, "--zone", "Asia/Tokyo")
        assert done.exit_code == 0, done.output
        mixpanel.days[today].append(event(2, today))
    assert mixpanel.asked[today] == 2
    values = [json.loads(value) for _, value in records(settings, topic_names(settings).product_events)]
    assert len(values) == 2
    nine_hours = 9 * 3_600_000
    assert sorted(each["properties"]["time"] for each in values) == [
        row["properties"]["time"] - nine_hours for row in mixpanel.days[today][:2]
    ]


@pytest.mark.kafka
def test_a_dry_run_sends_nothing_and_a_check_fetches_a_day_once(
    settings: Settings, mixpanel: Mixpanel, tmp_path: Path
) -> None:
    mixpanel.days[DAY] = [event(number, DAY) for number in range(50)]
    nowhere = override(Settings(), {"kafka.brokers": "127.0.0.1:9"})
    asked = ("--from-date", DAY, "--to-date", DAY, "--map", "org_id:=acme")
    done = run(nowhere, mixpanel, tmp_path, *asked, "--dry-run")
    assert done.exit_code == 0 and "50 rows read, 50 would be sent" in done.output, done.output
    assert '"org_id":"acme"' in done.output
    assert not list(tmp_path.glob("*.json"))
    checked = run(settings, mixpanel, tmp_path, *asked, "--check", "--max-duplicates", "0%")
    assert checked.exit_code == 0 and "50 rows read, 50 sent" in checked.output, checked.output
    assert mixpanel.asked[DAY] == 2
    assert len(records(settings, topic_names(settings).product_events)) == 50
    mixpanel.days[DAY].append(event(1, DAY))
    refused = run(settings, mixpanel, tmp_path, *asked, "--restart", "--check", "--max-duplicates", "0%")
    assert refused.exit_code == 1 and "Nothing was sent" in refused.output, refused.output
    assert len(records(settings, topic_names(settings).product_events)) == 50


def test_without_an_account_it_says_what_to_set(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        import_group, ["mixpanel", "--from-date", DAY, "--to-date", DAY], obj=Settings(), standalone_mode=True
    )
    assert done.exit_code == 2 and "ORGPULSE_MIXPANEL_SECRET" in done.output
