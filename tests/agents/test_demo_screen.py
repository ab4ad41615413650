"""The demo's screen: everything has its place in a terminal of 100 × 30, and in a small one nothing is cut off."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from agents.demo_figures import Figures
from agents.demo_screen import View, WorkerLine, screen
from streams.published import Alert, OrgScore
from streams.published_decode import Decoder


def alert(number: int) -> Alert:
    since = datetime(2026, 11, 25, number, tzinfo=UTC)
    return Alert(f"a{number}", f"Alder Works {number}", "raised", "below_threshold", f"f{number}", Decimal("4.20"),
                 Decimal("10.40"), since, None, None, None)  # fmt: skip


def org(number: int) -> OrgScore:
    change = {"own": "-1.00", "population": "0.00", "membership": "-5.20", "configuration": "0.00"}
    fields = {"schema": "1", "band": "at_risk", "score_active": "4.20", "previous": "10.40"}
    fields |= {"name": f"Birch Bank {number}", "change": json.dumps(change)}
    found = Decoder(0.0, 60.0).org(f"o{number}", fields)
    assert found is not None
    return found


def drawn(width: int, height: int, alerts: int) -> list[str]:
    workers = [WorkerLine(f"worker-{n}", 12345, f"http://127.0.0.1:4000{n}", ready=True) for n in (1, 2)]
    view = View("240 orgs, 3,200 users; 1,000 live messages; Ctrl-C ends it", Figures(), workers, "127.0.0.1:33333",
                "redis://127.0.0.1:44444/0", ".run/demo-abcdefgh", [org(n) for n in range(40)],
                [(alert(n), org(n)) for n in range(alerts)][:12], alerts)  # fmt: skip
    console = Console(width=width, height=height, file=io.StringIO())
    with console.capture() as shown:
        console.print(screen(view, width, height))
    return shown.get().splitlines()


@pytest.mark.parametrize("alerts", [0, 1, 20])
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (120, 50)])
def test_every_panel_is_there_and_nothing_is_cut_off(width: int, height: int, alerts: int) -> None:
    lines = drawn(width, height, alerts)
    assert len(lines) < height and max(map(len, lines)) <= width
    assert sum("Birch Bank" in line for line in lines) >= 3
    assert sum(line.startswith(("Mon", "Sun")) for line in lines) == 2
    text = "\n".join(lines)
    assert "http://127.0.0.1:40001/ " in text and "http://127.0.0.1:40002/" in text, "where the page is"
    assert ("No open alerts" in text) == (not alerts)


def test_open_alerts_say_since_when_from_where_to_where_and_why() -> None:
    lines = drawn(100, 30, 20)
    assert any(line.startswith("Open alerts: 20") for line in lines)
    rows = [line for line in lines if line.startswith("Alder Works")]
    assert len(rows) >= 3
    assert rows[0].split() == [
        "Alder", "Works", "0", "below", "threshold", "25", "Nov", "00:00", "10.40", "→", "4.20",
        "who", "is", "counted", "-5.20",
    ]  # fmt: skip
