"""Owns what a FILE argument stands for: a file, a folder, a zip archive; and reading many files in order of time.

Invariant: the rows of a folder come in the same order every time, and in order of time as far as each file's rows are:
a system that refuses what is weeks late must not get one channel's three years before the next channel's first.
"""

from __future__ import annotations

import heapq
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from agents.importers.files import ZIP_MAGIC, Archive, Files, FilesProgress, Folder, visible
from agents.importers.recode import recoded
from agents.importers.source import InputError, Row, Source, open_source

MAX_OPEN_FILES = 500
_ROTATED = re.compile(r"^(.*?)\.(\d{1,6})(\.gz)?$")

Reader = Callable[[Source], Iterator[Row]]


class Entry(Protocol):
    """Something to import that is no path, such as a query."""

    @property
    def key(self) -> str: ...
    def open(self) -> Source: ...


def open_entry(entry: str | Entry, encoding: str | None = None) -> Source:
    """Open a path or another entry; for a folder or zip file the `content` of the source is its `Files`.

    Raises:
        InputError: If it can't be opened.
    """
    if not isinstance(entry, str):
        return recoded(entry.open(), encoding)
    files = files_of(entry)
    if files is None:
        source = recoded(open_source(entry), encoding)
        if source.peek()[257:262] == b"ustar":
            source.close()
            raise InputError(f"{entry}: it is a tar archive: unpack it (tar xf {entry}) and give the folder")
        return source
    progress = cast(IO[bytes], FilesProgress())
    return Source(files.name, io.BytesIO(), progress, sum(files.sizes.values()), content=files)


def files_of(path: str) -> Files | None:
    """Return the files of a folder or a zip file; `None` for any other file."""
    if path == "-" or "://" in path:
        return None
    if Path(path).is_dir():
        return Folder(Path(path))
    try:
        with Path(path).open("rb") as file:
            return Archive(path) if file.read(4) in ZIP_MAGIC else None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def over_files(reader: Reader, encoding: str | None = None) -> Reader:
    """Return a reader that takes folders and archives too: every visible file in it, merged by time."""

    def read(source: Source) -> Iterator[Row]:
        if not isinstance(source.content, Folder | Archive):
            return reader(source)
        return _merged(source, reader, encoding)

    return read


@dataclass(order=True)
class _Part:
    """One file of several: when its next row is, its turn among equals, and the rest of its rows."""

    time: float
    turn: int
    size: int
    source: Source | None = None
    rows: Any = None
    row: Row | None = None
    number: int = 1

    def __post_init__(self) -> None:
        self.name = ""


def _merged(folder: Source, reader: Reader, encoding: str | None) -> Iterator[Row]:
    """Yield the rows of all files by time; a row without one follows the row before it.

    Every file is opened once for its first row's time, and again when that time has come: of files that follow each
    other, one a day, only one or two are open at once.
    """
    files, progress = cast(Files, folder.content), cast(FilesProgress, folder.raw)
    waiting = _in_order(files, reader, encoding)
    if not waiting:
        raise InputError(f"{folder.name}: there is nothing to read in it")
    heapq.heapify(waiting)
    opened = 0
    while waiting:
        part = heapq.heappop(waiting)
        if part.source is None:
            opened += 1
            if opened > MAX_OPEN_FILES:
                raise InputError(
                    f"{folder.name}: over {MAX_OPEN_FILES} files reach over the same time; import it in parts"
                )
            part.source = progress.opened(recoded(files.open(part.name), encoding))
            part.rows = reader(part.source)
            part.row = next(part.rows, None)
        # As long as no other file comes before, the rows of this one need no heap.
        until = waiting[0].time if waiting else float("inf")
        place = part.source.name
        while part.row is not None and part.time <= until:
            yield part.row if part.row.place else part.row._replace(place=f"{place}, row {part.number}")
            part.number += 1
            part.row = next(part.rows, None)
            if part.row is not None and part.row.time is not None:
                part.time = part.row.time
        if part.row is None:
            progress.finished(part.source, part.size)
            opened -= 1
        else:
            heapq.heappush(waiting, part)


def _in_order(files: Files, reader: Reader, encoding: str | None) -> list[_Part]:
    """Return the files that have rows, each with its first row's time; those without times go by their names."""
    found = []
    for turn, name in enumerate(sorted(visible(files), key=_natural)):
        source = recoded(files.open(name), encoding)
        try:
            first = next((row for row in reader(source)), None)
        finally:
            source.close()
        if first is None:
            continue
        part = _Part(float("-inf") if first.time is None else first.time, turn, files.sizes[name])
        part.name = name
        found.append(part)
    return found


def _natural(name: str) -> tuple[Any, ...]:
    """Return the key by which names are sorted: numbers by size, and of rotated logs the highest number first.

    >>> sorted(["app.log", "app.log.1", "app.log.10.gz", "app.log.2.gz"], key=_natural)
    ['app.log.10.gz', 'app.log.2.gz', 'app.log.1', 'app.log']
    """
    base, age = name, 0
    if rotated := _ROTATED.match(name):
        base, age = rotated[1], int(rotated[2])
    parts = re.split(r"(\d+)", base)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts), -age, name
