"""The report in a real browser: every cell is the frame's, every picture is drawn, nothing is amiss in light and
dark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reports.history import HistoryReader
from reports.report_document import Report, html_of, pictures_of, write_tables
from reports.report_sections import ALL, coverage_of, sections_of
from reports.report_table import Column, Table
from tests.reports.browsing import Browser, browser
from tests.reports.history_base import SMALL, make, week_rows

_READ = """tables => tables.map(t => [t.id, [...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent)),
  [...t.tHead.rows[0].cells].map(c => c.textContent)])"""
_PICTURES = """figures => figures.map(f => { const svg = f.querySelector('svg'), box = svg.getBoundingClientRect();
  const ink = [...svg.querySelectorAll('path, text')].map(p => getComputedStyle(p).fill);
  return {width: box.width, height: box.height, shapes: svg.querySelectorAll('path').length, inks: [...new Set(ink)],
    label: (svg.getAttribute('aria-labelledby') || '').split(' ').map(i => document.getElementById(i)?.textContent)};
    })"""
_DIGITS = {"number": 0.005, "ratio": 0.0005, "share": 0.0005, "cents": 0.5}


@dataclass(frozen=True)
class Shown:
    file: Path
    few: Path
    tables: dict[str, Table]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    reader = HistoryReader()
    for key, value in week_rows(make(SMALL)):
        reader.add(key, value)
    history = reader.history()
    report = Report("Report", "Made", coverage_of(history), tuple(s for *_, s in sections_of(history, ALL)))
    pictures = {table.name: pictures_of(table) for table in report.tables}
    folder = tmp_path_factory.mktemp("report")
    write_tables(report.tables, folder)
    few = replace(report, sections=tuple(s for s in report.sections if s.name in ("users-by-band", "quartiles")))
    for name, document in (("all", report), ("few", few)):
        (folder / f"{name}.html").write_text(html_of(document, pictures), "utf-8")
    return Shown(folder / "all.html", folder / "few.html", {table.name: table for table in report.tables})


def holds(text: str, value: Any, kind: str) -> bool:
    """Return whether *text* is *value*, as far as it is written."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return text == "–"
    if kind == "text":
        return text == str(value)
    number = float(text.replace(",", "").replace(" %", ""))
    if kind == "whole":
        return number == value
    scale = {"share": 0.01, "cents": 100.0}.get(kind, 1.0)
    return math.isclose(number * scale, value, rel_tol=0, abs_tol=_DIGITS[kind] * 1.0001)


def cell_holds(text: str, row: dict[Any, Any], column: Column) -> bool:
    kind = row["unit"] if column.kind == "by_unit" else column.kind
    if not column.upper:
        return holds(text, row[column.name], kind)
    ends = text.split(" to ") if " to " in text else [text, text]
    return all(holds(end, row[name], kind) for end, name in zip(ends, (column.name, column.upper), strict=True))


def test_every_cell_is_that_of_the_frame(chrome: Browser, shown: Shown) -> None:
    with chrome.visitor() as visitor:
        visitor.page.goto(shown.file.as_uri(), wait_until="load")
        seen = visitor.page.locator("table").evaluate_all(_READ)
    assert [name for name, *_ in seen] == [f"table-{name}" for name in shown.tables]
    cells = 0
    for (_, rows, heads), table in zip(seen, shown.tables.values(), strict=True):
        assert heads == [column.title for column in table.columns]
        expected = table.head.to_dict("records")
        assert len(rows) == len(expected) > 0
        for texts, row in zip(rows, expected, strict=True):
            for text, column in zip(texts, table.columns, strict=True):
                assert cell_holds(text, row, column), (table.name, column.name, text, row[column.name])
                cells += 1
    assert cells > 1_500


def test_every_picture_is_drawn_in_the_pages_colours(chrome: Browser, shown: Shown) -> None:
    with chrome.visitor(viewport={"width": 1200, "height": 900}) as visitor:
        visitor.page.goto(shown.file.as_uri(), wait_until="load")
        for scheme, ink in (("light", "rgb(28, 33, 38)"), ("dark", "rgb(229, 232, 235)")):
            visitor.page.emulate_media(color_scheme=scheme)
            pictures = visitor.page.locator("figure").evaluate_all(_PICTURES)
            assert len(pictures) == len(shown.tables)
            for picture in pictures:
                assert 700 < picture["width"] <= 1000 and picture["height"] > 100 and picture["shapes"] > 5
                assert all(picture["label"]) and len(picture["label"]) == 2
                assert not {"rgb(10, 11, 12)", "rgb(13, 14, 15)"} & set(picture["inks"])
            assert sum(ink in picture["inks"] for picture in pictures) > len(pictures) / 2
        ids = visitor.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids)) > 1_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_amiss_in_light_and_dark(chrome: Browser, shown: Shown, scheme: Any) -> None:
    with chrome.visitor(color_scheme=scheme, viewport={"width": 1200, "height": 900}) as visitor:
        visitor.page.goto(shown.few.as_uri(), wait_until="load")
        assert visitor.violations() == []
        visitor.photograph(f"report-{scheme}")


def test_it_fits_a_telephone_and_needs_nothing_from_elsewhere(chrome: Browser, shown: Shown) -> None:
    asked: list[str] = []
    with chrome.visitor(viewport={"width": 320, "height": 640}, java_script_enabled=True) as visitor:
        visitor.page.on("request", lambda request: asked.append(request.url))
        visitor.page.goto(shown.file.as_uri(), wait_until="load")
        assert visitor.overflow() <= 0
        assert visitor.page.locator("script").count() == 0
        assert [url for url in asked if not url.startswith("data:")] == [shown.file.as_uri()]


def test_the_contents_lead_to_every_table_and_to_its_files(chrome: Browser, shown: Shown) -> None:
    with chrome.visitor() as visitor:
        visitor.page.goto(shown.file.as_uri(), wait_until="load")
        for name, table in shown.tables.items():
            assert visitor.page.locator(f"nav a[href='#{name}']").inner_text() == table.title
            assert visitor.page.locator(f"h3#{name}").inner_text() == table.title
        links = visitor.page.locator(".files a").evaluate_all("found => found.map(a => a.getAttribute('href'))")
    assert len(links) == 2 * len(shown.tables)
    assert all((shown.file.parent / link).is_file() for link in links)
