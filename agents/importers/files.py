"""Owns folders and zip archives as inputs: which files they hold, and opening each.

Invariant: nothing is ever unpacked to disk, so what an archive calls its members leads nowhere; and what is not text
of an export (hidden files, members that unpack to far more than they can honestly hold) is not opened.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from agents.importers.source import InputError, Source, open_source, unpacked
from streams.reading import plain_text

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_BOMB_RATIO = 600  # text packs to a hundredth at best; deflate can't go beyond 1,032
_BOMB_BYTES = 64 << 20
MAX_FILES = 2_000_000


class Files(Protocol):
    """The files of a folder or archive; names are relative, with slashes."""

    name: str
    sizes: dict[str, int]

    def open(self, name: str) -> Source: ...
    def close(self) -> None: ...


class Folder:
    """The files below a folder; links to other folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.absolute().name
        self.sizes: dict[str, int] = {}
        for where, _, names in os.walk(path):
            for name in names:
                file = Path(where) / name
                try:
                    self.sizes[file.relative_to(path).as_posix()] = file.stat().st_size
                except OSError:  # it went away, or is a link to nowhere
                    continue
                if len(self.sizes) > MAX_FILES:
                    raise InputError(f"{path}: more than {MAX_FILES:,} files; name its folders one by one")

    def open(self, name: str) -> Source:
        """Open one of the files."""
        source = open_source(str(self.path / name))
        source.name = plain_text(name.removesuffix(".gz"))
        return source

    def close(self) -> None:
        """Nothing is kept open."""


class Archive:
    """The members of a zip archive."""

    def __init__(self, path: str) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: the zip file is damaged ({error})") from error
        self.name = Path(path).name.removesuffix(".zip")
        members = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(members) > MAX_FILES:
            raise InputError(f"{path}: more than {MAX_FILES:,} members; unpack it and name its folders one by one")
        self.sizes = {info.filename: info.file_size for info in members}

    def open(self, name: str) -> Source:
        """Open one of the members.

        Raises:
            InputError: If it is encrypted, packed in a way that Python can't undo, or a bomb.
        """
        info = self._zip.getinfo(name)
        if info.file_size > _BOMB_BYTES and info.file_size > _BOMB_RATIO * max(info.compress_size, 1):
            raise InputError(
                f"{self.name}: {name} unpacks to {info.file_size:,} bytes from {info.compress_size:,}: "
                "no honest export does; unpack it by hand if you trust it"
            )
        try:
            stream = self._zip.open(info)
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{self.name}: {name} can't be unpacked ({error}); unpack it by hand") from error
        place = PurePosixPath(name)
        folder = place.parent.name or self.name
        return unpacked(Source(name, stream, stream, info.file_size, folder=folder))

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()


class FilesProgress:
    """How many bytes of the files have been read: what `Source.raw` tells for a folder."""

    def __init__(self) -> None:
        self._done, self._open = 0, list[Source]()

    def opened(self, source: Source) -> Source:
        """Take note of a file that is being read now."""
        self._open.append(source)
        return source

    def finished(self, source: Source, size: int) -> None:
        """Close a file and count it as read."""
        source.close()
        self._open.remove(source)
        self._done += size

    def tell(self) -> int:
        """Return the bytes read so far."""
        return self._done + sum(source.read_bytes() for source in self._open)

    def close(self) -> None:
        """Close what is still open."""
        while self._open:
            self._open.pop().close()


def visible(files: Files) -> Iterator[str]:
    """Yield the names of files that are no system's droppings, in order."""
    for name in sorted(files.sizes):
        parts = name.split("/")
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts):
            yield name


def root_of(files: Files, wanted: str) -> str | None:
    """Return in which folder of the archive *wanted* lies ("" or "name/"): exports are packed with and without one."""
    for name in files.sizes:
        head, _, tail = name.rpartition("/")
        if tail == wanted and "/" not in head:
            return f"{head}/" if head else ""
    return None


def read_whole(files: Files, name: str, most_bytes: int) -> bytes:
    """Return the content of a small file.

    Raises:
        InputError: If it is larger than *most_bytes*.
    """
    source = files.open(name)
    try:
        content = b""
        while chunk := source.read(1 << 20):
            content += chunk
            if len(content) > most_bytes:
                raise InputError(f"{files.name}: {name} is over {most_bytes >> 20} MiB")
        return content
    finally:
        source.close()
