"""Owns what is made of the samples: the document (JSON), the table, before and after.

Invariant: a step's processor seconds per million messages are its share of the samples, times what the workers used;
so two profiles compare even where the machine was busier.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench.profile.steps import STEPS, Profile

TOP = 5
Document = dict[str, Any]
"""Job → figures."""


def figures(profile: Profile, messages: int, cpu_seconds: float) -> dict[str, Any]:
    """Return a job's figures: *cpu_seconds* of its workers while they were sampled."""
    total = max(1, profile.samples)
    per_million = cpu_seconds / messages * 1e6
    return {
        "messages": messages,
        "samples": profile.samples,
        "cpu_seconds_per_million": round(per_million, 3),
        "steps": {
            step: {
                "share": round(profile.steps[step] / total, 4),
                "cpu_seconds_per_million": round(profile.steps[step] / total * per_million, 3),
                "functions": {
                    name: round(count / total, 4) for name, count in profile.functions[step].most_common(TOP)
                },
            }
            for step in STEPS
            if profile.steps[step]
        },
    }


def table(job: str, now: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Table:
    """Return a job's table; with *before*, what a step took then, and the difference."""
    result = Table(
        title=f"{job}: {now['messages']:,} messages, {now['samples']:,} samples",
        caption="CPU s/M: processor seconds of the workers per million messages",
    )
    for name in ("step", "share", "CPU s/M", *(["before", "change"] if before else []), "most of it in"):
        result.add_column(name, justify="left" if name in ("step", "most of it in") else "right")
    for step in STEPS:
        new = now["steps"].get(step)
        old = before["steps"].get(step) if before else None
        if new is None and old is None:
            continue
        functions = new["functions"] if new else {}
        cells = [f"{new['share']:.1%}" if new else "–", _seconds(new)]
        if before:
            cells += [_seconds(old), _change(_value(new), _value(old))]
        said = [f"{name} {share:.1%}" for name, share in list(functions.items())[:2]]
        result.add_row(step, *cells, "\n".join(said))
    result.add_section()
    cells = ["100.0%", _seconds(now)]
    if before:
        cells += [_seconds(before), _change(_value(now), _value(before))]
    result.add_row("all", *cells, "")
    return result


def _value(figure: Mapping[str, Any] | None) -> float:
    return float(figure["cpu_seconds_per_million"]) if figure else 0.0


def _seconds(figure: Mapping[str, Any] | None) -> str:
    return f"{_value(figure):.2f}" if figure else "–"


def _change(now: float, before: float) -> str:
    """Say by how much *now* is more or less than *before*.

    >>> _change(3.0, 4.0), _change(1.0, 0.0)
    ('-25 %', 'new')
    """
    return f"{(now - before) / before * 100:+.0f} %" if before else "new"


def write(found: Document, file: Path) -> None:
    """Write the document as JSON."""
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> Document:
    """Read a document that `write` wrote.

    Raises:
        ValueError: If the file is none.
    """
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(isinstance(job, dict) and "steps" in job for job in found.values()):
        raise ValueError(f"{file} is no profile that `make profile` wrote")
    return found
