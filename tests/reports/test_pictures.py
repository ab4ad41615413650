"""Pictures, opened in a real browser and decoded: they show the numbers of the grid, each at its place."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from reports.picture_files import PNG_DPI, png, svg
from reports.picture_grid import FOOT_INCHES, HEAD_INCHES, LEFT_INCHES, RIGHT_INCHES
from reports.picture_scale import change_scale, ink_on, scale_of
from reports.pictures import HEIGHT, MAX_PANELS, WIDTH, difference_map, map_figure, series
from reports.sample_pictures import DOCS, pictures
from reports.short_text import signed_duration, two_digits
from reports.week_map import ANSWERED, EVENTS, WAIT, WEEKDAYS, ChangeMap, Label, all_values, change_of, map_of
from tests.reports.browser import Part, Seen, look_at
from tests.reports.weeks import full_week, week_of

LABEL = Label("acme", "replies/#help", "2025", "Europe/Berlin", 0.8, min_count=2)
GAPS = (0, 23, 24, 80, 150, 167)
HOSTILE = '<script>window.broken=1</script><b>"&\u202e\x00\x1b[31m $x^2$ ' + "long " * 40


def columns_of(seen: Seen) -> list[float]:
    heads = [part for part in seen.parts if part.tag == "text" and re.fullmatch(r"\d\d", part.text)]
    assert [part.text for part in sorted(heads, key=lambda p: p.left)] == [f"{hour:02}" for hour in range(24)]
    return sorted(part.centre[0] for part in heads)


def rows_of(seen: Seen) -> list[float]:
    names = {part.text: part.centre[1] for part in seen.parts if part.text in WEEKDAYS}
    assert list(names) == list(WEEKDAYS)
    return list(names.values())


def by_place(seen: Seen, parts: list[Part]) -> dict[int, Part]:
    """Return hour of the week → part, told by nothing but where it stands."""
    columns, rows = np.array(columns_of(seen)), np.array(rows_of(seen))
    found: dict[int, Part] = {}
    for part in parts:
        x, y = part.centre
        hour = int(np.argmin(abs(rows - y))) * 24 + int(np.argmin(abs(columns - x)))
        assert hour not in found
        found[hour] = part
    return found


def assert_inside(seen: Seen) -> None:
    """Say that no text is cut off by the picture's edge or lies upon another."""
    texts = [part for part in seen.parts if part.tag == "text" and part.text.strip()]
    for part in texts:
        assert part.left >= 0
        assert part.right <= seen.width + 0.5, part.text
        assert part.top >= 0
        assert part.bottom <= seen.height + 0.5, part.text
    for number, one in enumerate(texts):
        for other in texts[number + 1 :]:
            across = min(one.right, other.right) - max(one.left, other.left)
            down = min(one.bottom, other.bottom) - max(one.top, other.top)
            assert across <= 1 or down <= 4, (one.text, other.text)


def test_a_browser_shows_168_numbers_each_where_the_grid_has_it(tmp_path: Path) -> None:
    week = map_of(full_week(), LABEL)
    seen = look_at(svg(map_figure(week), "Reply latency", "168 hours"), tmp_path)
    found = by_place(seen, seen.texts("text-"))
    waits = full_week().quantiles_ms(0.8) / 1000
    assert {hour: part.text for hour, part in found.items()} == {h: two_digits(waits[h]) for h in range(168)}
    (title,) = seen.texts("title")
    assert title.text == "acme"
    lines = [part.text for part in seen.texts("subtitle")]
    assert lines[0] == "Time to a reply, by the hour of the question (p80: 80% wait no longer)"
    assert lines[1] == "2025  ·  Europe/Berlin  ·  504 replies  ·  channel #help"
    assert (seen.role, seen.label) == ("img", ["Reply latency", "168 hours"])
    assert_inside(seen)


def test_cells_without_data_are_hatched_and_nothing_else_is(tmp_path: Path) -> None:
    week = map_of(full_week(gaps=GAPS), LABEL)
    seen = look_at(svg(map_figure(week, counts=True), "t", "d"), tmp_path)
    hatched = by_place(seen, seen.shapes("hatched"))
    assert sorted(hatched) == sorted(GAPS)
    assert all("url(" in part.fill for part in hatched.values())
    assert not any("url(" in part.fill for part in seen.shapes("cell"))
    assert sorted(by_place(seen, seen.texts("text-"))) == sorted(set(range(168)) - set(GAPS))
    counts = by_place(seen, seen.texts("count-"))
    assert {part.text for part in counts.values()} == {"3"}
    assert len(counts) == 168 - len(GAPS)
    assert any(part.text == "no data: fewer than 2 replies" for part in seen.parts)
    assert_inside(seen)


def test_a_cell_below_the_minimum_shows_no_number_but_its_count_if_asked(tmp_path: Path) -> None:
    week = map_of(week_of({5: [60.0], 6: [60.0, 120.0]}), LABEL)
    seen = look_at(svg(map_figure(week, counts=True), "t", "d"), tmp_path)
    assert [part.id for part in seen.texts("text-")] == ["text-mon-06"]
    assert [(part.id, part.text) for part in seen.texts("count-")] == [("count-mon-05", "1"), ("count-mon-06", "2")]


def test_the_colours_in_a_browser_are_those_of_the_scale(tmp_path: Path) -> None:
    week = map_of(full_week(gaps=GAPS), LABEL)
    seen = look_at(svg(map_figure(week), "t", "d"), tmp_path)
    scale = scale_of(all_values([week]), WAIT)
    for hour, part in by_place(seen, seen.shapes("cell")).items():
        wanted = [round(255 * channel) for channel in scale.colour(float(week.values[hour]))]
        assert [int(n) for n in re.findall(r"\d+", part.fill)[:3]] == pytest.approx(wanted, abs=1)


def changes() -> ChangeMap:
    """Return a difference: no data at 0, before only at 23, after only at 30; of the others odd ones are slower."""
    old = {h: [600.0 + n for n in range(30)] for h in range(168) if h not in (0, 30)}
    new = {h: [(60.0 if h % 2 == 0 else 6000.0) + n for n in range(30)] for h in range(168) if h not in (0, 23)}
    labels = (replace(LABEL, period="2024", min_count=20), replace(LABEL, min_count=20))
    return change_of((week_of(old), week_of(new)), labels)


def test_a_difference_shows_each_change_and_draws_one_sided_hours_apart(tmp_path: Path) -> None:
    change = changes()
    seen = look_at(svg(difference_map(change, counts=True), "t", "d"), tmp_path)
    texts = {hour: part.text for hour, part in by_place(seen, seen.texts("text-")).items()}
    both = [hour for hour, state in enumerate(change.states) if state == "both"]
    assert {hour: texts[hour] for hour in both} == {h: signed_duration(float(change.seconds[h])) for h in both}
    assert texts[2].startswith("−")
    assert texts[3].startswith("+")
    assert (texts[23], texts[30]) == ("was", "now")
    assert 0 not in texts
    assert sorted(by_place(seen, seen.shapes("hatched"))) == [0, 23, 30]
    assert sorted(by_place(seen, seen.shapes("mark"))) == np.flatnonzero(change.significant).tolist() == both
    said = {part.text for part in seen.parts}
    assert {"data before only", "data after only", "data on neither side", "more than chance"} <= said
    assert "2024 → 2025  ·  Europe/Berlin  ·  4,980 → 4,980 replies  ·  channel #help" in said
    assert_inside(seen)


def test_no_change_is_the_middle_of_an_even_scale() -> None:
    scale = change_scale(np.array([-4000.0, 20.0, 90.0, 300.0]))
    assert float(scale.norm(0.0)) == 0.5
    assert float(scale.norm(700.0)) == pytest.approx(1 - float(scale.norm(-700.0)))
    assert min(scale.colour(0.0)) > 0.9
    assert scale.ticks == [-tick for tick in reversed(scale.ticks)]
    purple, orange = scale.colour(-4000.0), scale.colour(4000.0)
    assert purple[2] > purple[0] > purple[1]
    assert orange[0] > orange[1] > orange[2]


def test_the_scale_of_waits_is_by_factors_and_grows_lighter() -> None:
    scale = scale_of(np.array([60.0, 90.0, 6000.0]), WAIT)
    assert [float(scale.norm(value)) for value in (60, 600, 6000)] == pytest.approx([0, 0.5, 1])
    assert scale.colour(600) == pytest.approx(matplotlib.colormaps["cividis"](0.5)[:3], abs=0.02)
    light = [sum(scale.colour(60 * 10 ** (step / 50))) for step in range(101)]
    assert light == sorted(light)
    assert [scale.write(tick) for tick in scale.ticks] == ["1m", "2m", "5m", "10m", "20m", "30m", "1h"]


def test_years_stand_side_by_side_by_one_scale(tmp_path: Path) -> None:
    weeks = [
        map_of(full_week(factor, GAPS), replace(LABEL, period=str(year))) for year, factor in ((2023, 1), (2024, 5))
    ]
    seen = look_at(svg(series(weeks), "t", "d"), tmp_path)
    scale = scale_of(all_values(weeks), WAIT)
    for number, week in enumerate(weeks):
        texts = {part.id: part.text for part in seen.texts(f"text-p{number + 1}-")}
        assert list(texts.values()) == [text for text in week.texts if text]
        fill = next(part.fill for part in seen.shapes(f"cell-p{number + 1}-tue-10"))
        wanted = [round(255 * channel) for channel in scale.colour(float(week.values[34]))]
        assert [int(n) for n in re.findall(r"\d+", fill)[:3]] == pytest.approx(wanted, abs=1)
    places = {part.id: part.centre for part in seen.texts("text-")}
    assert places["text-p1-tue-10"][1] == pytest.approx(places["text-p2-tue-10"][1], abs=1)
    assert places["text-p1-tue-10"][0] < places["text-p2-mon-10"][0]
    assert_inside(seen)


def test_as_many_years_as_fit_are_drawn_and_more_are_refused() -> None:
    week = map_of(full_week(), LABEL)
    assert series([week] * MAX_PANELS).get_size_inches()[0] > WIDTH
    with pytest.raises(ValueError, match="1 to 12 fit"):
        series([week] * (MAX_PANELS + 1))


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    label = replace(LABEL, org=HOSTILE, line=f"replies/{HOSTILE}", period=HOSTILE, zone=HOSTILE)
    seen = look_at(svg(map_figure(map_of(full_week(), label)), HOSTILE, HOSTILE), tmp_path)
    assert (seen.alien, seen.broken) == (0, 0)
    (title,) = seen.texts("title")
    assert title.text.startswith('<script>window.broken=1</script><b>"&��')
    assert title.text.endswith("…")
    everything = "".join(part.text for part in seen.parts) + "".join(seen.label)
    assert not re.search("[\u202a-\u202e\x00-\x08\x1b]", everything)
    assert title.right <= seen.width


@pytest.mark.parametrize("name", ["W" * 200, "$" * 40, "#" * 99, " ", "漢字" * 30, "שלום " * 20])
def test_no_name_is_too_long_for_the_paper(tmp_path: Path, name: str) -> None:
    label = replace(LABEL, org=name, line=f"replies/{name}", period=name, zone=name)
    seen = look_at(svg(map_figure(map_of(full_week(), label)), name, name), tmp_path)
    assert all(part.right <= seen.width for part in [*seen.texts("title"), *seen.texts("subtitle")])
    assert_inside(seen)


def test_shares_counts_filled_and_empty_weeks_are_drawn(tmp_path: Path) -> None:
    grid = week_of({9: [60.0, 7200.0], 10: [60.0]}, {9: 4, 10: 1, 11: 5})
    share = map_of(grid, replace(LABEL, target_ms=3_600_000, show=ANSWERED, min_count=1))
    assert [text for text in share.texts if text] == ["25%", "100%", "0%"]
    events = map_of(grid, replace(LABEL, show=EVENTS))
    assert [text for text in events.texts if text] == ["4", "1", "5"]
    flat = map_of(grid, LABEL).filled(20 * 3600)
    seen = look_at(svg(map_figure(flat), "t", "d"), tmp_path)
    assert [part.text for part in seen.texts("text-")].count("20h") == 167
    assert not seen.shapes("hatched")
    assert any(part.text == "no data is drawn as 20h" for part in seen.parts)
    for week in (share, events, map_of(week_of({}), LABEL)):
        assert png(map_figure(week, counts=True))
    nothing = change_of((week_of({}), week_of({})), (LABEL, LABEL))
    assert png(difference_map(nothing))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_a_png_has_the_size_of_a_screen_and_the_colours_of_the_scale() -> None:
    week = map_of(full_week(gaps=GAPS), LABEL)
    picture = pixels(png(map_figure(week)))
    assert picture.shape == (1080, 1920, 3)
    scale = scale_of(all_values([week]), WAIT)
    across = (WIDTH - LEFT_INCHES - RIGHT_INCHES) / 24 * PNG_DPI
    down = (HEIGHT - HEAD_INCHES - FOOT_INCHES) / 7 * PNG_DPI
    for hour in range(168):
        x, y = LEFT_INCHES * PNG_DPI + (hour % 24 + 0.5) * across, HEAD_INCHES * PNG_DPI + (hour // 24 + 0.12) * down
        if hour in GAPS:
            corner = picture[int(y) - 8 : int(y) + 8, int(x) - 16 : int(x) + 16]
            assert corner.min() < 200 < 250 < corner.max()  # lines upon white
        else:
            wanted = [255 * channel for channel in scale.colour(float(week.values[hour]))]
            assert picture[int(y), int(x)].tolist() == pytest.approx(wanted, abs=1.5)


def test_text_stands_out_from_every_colour_it_is_written_on() -> None:
    for name in ("cividis", "PuOr_r"):
        for step in np.linspace(0, 1, 200):
            red, green, blue, _ = matplotlib.colormaps[name](step)
            ink = 0.0 if ink_on((red, green, blue)) == "#000000" else 1.0
            light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
            luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]
            assert (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05) >= 4.5


def test_equal_data_give_equal_bytes_and_matplotlib_is_left_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    week = map_of(full_week(gaps=GAPS), LABEL)

    def drawn() -> tuple[str, bytes]:
        return svg(map_figure(week), "t", "d"), png(map_figure(week))

    first = drawn()
    matplotlib.rcParams["svg.fonttype"], matplotlib.rcParams["font.size"] = "path", 30.0
    try:
        assert drawn() == first
    finally:
        matplotlib.rcParams.update(before)
    assert "<dc:date>" not in first[0]
    assert dict(matplotlib.rcParams) == before


def test_the_pictures_in_the_documentation_are_what_the_program_draws() -> None:
    for name, content in pictures().items():
        kept, drawn = pixels((DOCS / name).read_bytes()), pixels(content)
        assert kept.shape == drawn.shape
        assert (abs(kept - drawn).max(axis=2) > 40).mean() < 0.005, f"{name} is out of date: run `make docs`"


def test_a_figure_is_a_plain_object() -> None:
    assert isinstance(map_figure(map_of(full_week(), LABEL)), Figure)
