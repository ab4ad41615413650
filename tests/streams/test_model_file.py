"""A model's file is read, and what is wrong in it is found by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.model_file import load_model
from streams.settings_file import SettingsError

GOOD = """\
# a small model
[bands]
healthy = 60
at_risk = 30
hysteresis = 2

[measures.search]
events = ["Search"]

[[attributes]]
name = "searches"
kind = "count"
weight = 3
measures = ["search"]
cuts = [1, 2, 3, 4, 5, 6, 7, 8, 9]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "health.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_right_file_gives_its_model(tmp_path: Path) -> None:
    assert [a.name for a in load_model(written(tmp_path, GOOD)).attributes] == ["searches"]


def test_no_file_is_the_shipped_model() -> None:
    assert len(load_model("").attributes) >= 30


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("weight = 3", "wieght = 3", 13, "did you mean 'weight'"),
        ("weight = 3", "weight = 9", 11, "from 1 to 5"),
        ('kind = "count"', 'kind = "cuont"', 12, "did you mean 'count'"),
        ("cuts = [1, 2, 3, 4, 5, 6, 7, 8, 9]", "", 11, "9 ascending"),
        ('events = ["Search"]', 'evnts = ["Search"]', 8, "did you mean 'events'"),
        ("healthy = 60", "healthy = 600", 3, "percentage from 0 to 100"),
        ('measures = ["search"]', 'measures = ["serach"]', 14, "did you mean 'search'"),
        ("[bands]", "[bandz]", 2, "did you mean 'bands'"),
        ('["Search"]', '["Search"]\nsince = "created_at"', 7, "no `hours = true`: add it, or drop `since`"),
        ('["Search"]', '["Search"]\nhours = true\nduration = "sec"', 10, "unknown 'sec'"),
        ('["Search"]', '["Search"]\nhours = true\nduration = "s"\ntime = "t"', 7, "`duration` and `time`: keep one"),
        ("[measures.search]", "[measures.presence]\nhours = true\n[measures.search]", 7, "is built in; choose another"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, before: str, after: str, line: int, message: str) -> None:
    path = written(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(SettingsError) as error:
        load_model(path)
    assert f"{path}:{line}: " in str(error.value)
    assert message in str(error.value)


def test_a_file_that_is_no_toml_says_where_it_breaks(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="line 3"):
        load_model(written(tmp_path, "[bands]\nhealthy = 60\nat_risk == 30\n"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_can_not_be_read_says_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "health.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="can't be read"):
        load_model(str(path))
