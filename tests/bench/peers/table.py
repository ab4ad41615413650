"""Owns what is made of the runs: the document (JSON), the table, the notes below it, the picture.

Invariant: a run that failed or was wrong has no part in any figure, and is told beside its engine.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from tests.bench.peers.engines import Engine
from tests.bench.peers.measure import Run

Document = dict[str, Any]
OURS = "ours"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
OUR_COLOUR, PEER_COLOUR = "#0072B2", "#999999"  # of Okabe and Ito's colours, told apart by any eye


def document(engines: Sequence[Engine], runs: Sequence[Run], skipped: Mapping[str, str], events: int) -> Document:
    """Return all figures of *runs*, per engine, in the order of *engines*."""
    rows = [_row(engine, [one for one in runs if one.engine == engine.name], skipped) for engine in engines]
    ours = next((row["rate_median"] for row in rows if row["name"] == OURS), None)
    for row in rows:
        row["ratio_to_ours"] = row["rate_median"] / ours if ours and row["rate_median"] else None
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "kind": platform.machine(), "load": os.getloadavg()[0]},
        "events": events,
        "engines": rows,
    }


def _row(engine: Engine, runs: Sequence[Run], skipped: Mapping[str, str]) -> dict[str, Any]:
    good = [one for one in runs if one.rate]
    late = [one.late_rate for one in good if one.late_rate is not None]
    rates = [one.rate for one in good]
    per_million = [one.cpu_seconds / one.events * 1e6 for one in good]
    failures = [one.failure for one in runs if one.failure]
    return {
        "name": engine.name,
        "label": engine.label,
        "version": engine.version(),
        "state": engine.state,
        "durable": engine.durable,
        "events": good[0].events if good else None,
        "rate_min": min(rates, default=None),
        "rate_median": median(rates) if rates else None,
        "rate_max": max(rates, default=None),
        "late_rate_median": median(late) if late else None,
        "cpu_seconds_per_million": median(per_million) if per_million else None,
        "memory_bytes": max((one.memory_bytes for one in good), default=None),
        "skipped": skipped.get(engine.name),
        "failures": failures,
        "runs": [one.row() for one in runs],
    }


def failures(found: Document) -> Iterator[str]:
    """Yield what went wrong, engine by engine."""
    for row in found["engines"]:
        for failure in row["failures"]:
            yield f"{row['label']}: {failure}"


def table(found: Document) -> Table:
    """Return the table: fastest first, then what has no figures."""
    result = Table(
        title=f"Count per org, user and week of {found['events']:,} JSON events",
        caption="min, median, max: events a second from the first event to the durable end; late: after half of them, "
        "where commits tell; CPU s/M: processor seconds per million events; MB: memory at its peak",
    )
    result.add_column("engine", no_wrap=True)
    result.add_column("version", no_wrap=True)
    for name in ("min", "median", "max", "late", "× ours", "CPU s/M", "MB"):
        result.add_column(name, justify="right")
    result.add_column("result")
    for row in _sorted(found):
        label = _label(found, row)
        result.add_row(
            label, row["version"], *_cells(row), _outcome(row), style="bold" if row["name"] == OURS else None
        )
    return result


def _sorted(found: Document) -> list[dict[str, Any]]:
    """Return the engines, fastest first; those without figures last."""
    return sorted(found["engines"], key=lambda row: -(row["rate_median"] or 0))


def _label(found: Document, row: Mapping[str, Any]) -> str:
    part = "" if row["events"] in (None, found["events"]) else f" ({row['events']:,} events)"
    return f"{row['label']}{part}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _number(row["rate_min"]), _number(row["rate_median"]), _number(row["rate_max"]),
        _number(row["late_rate_median"]), _number(row["ratio_to_ours"], 3),
        _number(row["cpu_seconds_per_million"], 1), _number(row["memory_bytes"] and row["memory_bytes"] / 1e6),
    ]  # fmt: skip


def _outcome(row: Mapping[str, Any]) -> str:
    if row["skipped"]:
        return "skipped"
    wrong = sum(1 for failure in row["failures"] if failure.startswith("wrong result"))
    failed = len(row["failures"]) - wrong
    said = [f"{len(row['runs']) - wrong - failed} right"]
    said += [f"{wrong} WRONG"] * bool(wrong) + [f"{failed} failed"] * bool(failed)
    return ", ".join(said)


def notes(found: Document) -> list[str]:
    """Return the lines below the table: why something has no figures, and how the machine was."""
    lines = [f"{row['label']}: skipped: {row['skipped']}" for row in found["engines"] if row["skipped"]]
    lines += list(failures(found))
    machine = found["machine"]
    lines.append(
        f"{machine['cores']} cores ({machine['kind']}), load {machine['load']:.1f} at the end; {found['when']}"
    )
    return lines


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def markdown(found: Document) -> str:
    """Return the table and the notes as Markdown."""
    head = ("engine", "version", "events/s: min", "median", "max", "late", "× ours", "CPU s/M", "MB", "result")
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * 7 + "---|"]
    for row in _sorted(found):
        lines.append("| " + " | ".join([_label(found, row), row["version"], *_cells(row), _outcome(row)]) + " |")
    said = [f"{found['events']:,} JSON events.", *notes(found)]
    return "\n".join([*lines, "", *said]) + "\n"


def put_into(page: Path, found: Document) -> None:
    """Replace what stands between the two marks of *page* by the figures.

    Raises:
        ValueError: If *page* has no such marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END} to put the figures between")
    page.write_text(f"{before}{BEGIN}\n{markdown(found)}{END}{after}", encoding="utf-8")


def write(found: Document, file: Path) -> None:
    """Write the document as JSON."""
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> Document:
    """Read a document that `write` wrote.

    Raises:
        ValueError: If the file is none.
    """
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not {"engines", "events", "machine", "when"} <= found.keys():
        raise ValueError(f"{file} holds no figures that --json wrote")
    return found


def plot(found: Document, file: Path) -> None:
    """Draw rates (median, from least to most), processor time and memory, the fastest on top; ours in blue."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "peers"  # the same figures make the same file
    from matplotlib import pyplot

    rows = sorted((row for row in found["engines"] if row["rate_median"]), key=lambda row: row["rate_median"])
    labels = [f"{row['label']} {row['version']}" if row["name"] != OURS else row["label"] for row in rows]
    colours = [OUR_COLOUR if row["name"] == OURS else PEER_COLOUR for row in rows]
    figure, axes = pyplot.subplots(
        1, 3, figsize=(11, 1.2 + 0.45 * max(1, len(rows))), sharey=True, layout="constrained"
    )
    panels = (
        ("events per second (median; line: least to most)", "rate_median", 1.0, "linear"),
        ("processor seconds per million events (logarithmic)", "cpu_seconds_per_million", 1.0, "log"),
        ("memory at its peak, MB", "memory_bytes", 1e6, "linear"),
    )
    for axis, (title, name, unit, scale) in zip(axes, panels, strict=True):
        values = [row[name] / unit for row in rows]
        most = max(values, default=1)
        axis.set_title(title, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xscale(scale)
        if scale == "log":  # a bar's length would say nothing there
            axis.scatter(values, labels, c=colours)
            axis.set_xlim(min(values, default=1) / 2, most * 8)
        else:
            axis.barh(labels, values, color=colours)
            axis.set_xlim(0, most * 1.25)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.tick_params(labelsize=8)
        for place, value in enumerate(values):
            axis.annotate(f"  {value:,.{0 if value >= 10 else 1}f}", (value, place), va="center", fontsize=8)
    for place, row in enumerate(rows):
        axes[0].plot([row["rate_min"], row["rate_max"]], [place - 0.25] * 2, color="black", linewidth=1)
    figure.savefig(file, dpi=144, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
