"""Owns inputs in S3-compatible storage: listing a prefix, reading objects in pieces, knowing them again by ETag.

Invariant: an object that was replaced while it was read, or cut short, is an error and never a shorter file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from agents.importers.expand import Entry
from agents.importers.source import InputError, Source, unpacked
from streams.settings_bridges import S3Settings

SCHEME = "s3://"
_REPLACED = "the object was replaced while it was read: import it again"
_PIECE_BYTES = 4 * 1024 * 1024
"""Read at a time: one request each."""
_CONNECT_SECONDS, _REQUEST_SECONDS, _TRIES = 10.0, 60.0, 8


class ObjectEntry:
    """One object as an input of an import; another ETag is another input."""

    final = True
    """Once it was read to its end there is nothing more to come."""

    def __init__(self, storage: Storage, path: str, etag: str) -> None:
        self._storage, self._path = storage, path
        self.key = f"{path}#{etag}"

    def open(self) -> Source:
        """Open it.

        Raises:
            InputError: If it can't be opened.
        """
        return self._storage.open(self._path)


class Storage:
    """One S3-compatible storage."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._files: Any = None

    def expanded(self, entries: Sequence[str | Entry]) -> list[str | Entry]:
        """Return *entries* with the objects that each `s3://bucket/prefix` stands for in its place.

        Raises:
            InputError: If there is nothing, or the storage does not answer.
        """
        found: list[str | Entry] = []
        for entry in entries:
            if isinstance(entry, str) and entry.startswith(SCHEME):
                found += [ObjectEntry(self, path, self.etag(path)) for path in self._objects(entry)]
            else:
                found.append(entry)
        return found

    def open(self, path: str) -> Source:
        """Open an object; gzip is told by its first two bytes.

        Raises:
            InputError: If it can't be opened.
        """
        try:
            file = self._storage().open_input_file(_key(path))
            raw = io.BufferedReader(_Object(self, path, file), _PIECE_BYTES)
        except OSError as error:
            raise _told(path, error) from error
        folder = PurePosixPath(path).parent.name
        return unpacked(Source(PurePosixPath(path).name, raw, raw, file.size(), folder=folder))

    def etag(self, path: str) -> str:
        """Return what tells this version of an object from others.

        Raises:
            InputError: If it is not there.
        """
        try:
            with self._storage().open_input_file(_key(path)) as file:
                return _etag(file)
        except OSError as error:
            raise _told(path, error) from error

    def _objects(self, path: str) -> list[str]:
        """Return the object of that name, or all whose names begin with it, in order of their names."""
        from pyarrow.fs import FileSelector, FileType

        key, storage = _key(path), self._storage()
        try:
            if not key.endswith("/") and "/" in key and storage.get_file_info(key).type == FileType.File:
                return [path]
            folder = key.rpartition("/")[0] or key
            found: list[str] = []
            for info in storage.get_file_info(FileSelector(folder)):  # one level: the prefix may end inside a name
                if not info.path.startswith(key.rstrip("/") if key.rstrip("/") == folder else key):
                    continue
                if info.type == FileType.File:
                    found.append(info.path)
                else:
                    below = storage.get_file_info(FileSelector(info.path, recursive=True))
                    found += [each.path for each in below if each.type == FileType.File]
        except OSError as error:
            raise _told(path, error) from error
        if not found:
            raise InputError(f"{path}: there is no such object, and none whose name begins so")
        return [SCHEME + each for each in sorted(found)]

    def _storage(self) -> Any:
        if self._files is None:
            from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

            wanted: dict[str, Any] = {
                "endpoint_override": self._settings.endpoint or None, "region": self._settings.region or None,
                "access_key": self._settings.access_key or None, "secret_key": self._settings.secret_key or None,
            }  # fmt: skip
            self._files = S3FileSystem(
                connect_timeout=_CONNECT_SECONDS, request_timeout=_REQUEST_SECONDS,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_TRIES),
                **{name: value for name, value in wanted.items() if value is not None},
            )  # fmt: skip
        return self._files


class _Object(io.RawIOBase):
    """An object as a file that knows how long it must be."""

    def __init__(self, storage: Storage, path: str, file: Any) -> None:
        super().__init__()
        self._storage, self._path, self._file = storage, path, file
        self._size, self._etag, self._at = file.size(), _etag(file), 0
        self._whole = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        try:
            data = self._file.read_at(wanted, self._at) if wanted else b""
        except OSError as error:
            raise _told(self._path, error) from error
        if len(data) < wanted or self._at + len(data) >= self._size:
            self._see_that_it_is_the_same(len(data) == wanted)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _see_that_it_is_the_same(self, as_long_as_it_was: bool) -> None:
        if not as_long_as_it_was or not (self._whole or self._storage.etag(self._path) == self._etag):
            raise InputError(f"{self._path}: {_REPLACED}")
        self._whole = True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _etag(file: Any) -> str:
    """Return what tells this version of an object from others."""
    return str(file.metadata()["ETag"].decode()).strip('"')


def _key(path: str) -> str:
    return path.removeprefix(SCHEME)


def _told(path: str, error: OSError) -> InputError:
    """Return a storage's error in a sentence."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: there is no such object")
    if "NO_SUCH_BUCKET" in text:
        return InputError(f"{path}: there is no such bucket")
    if "HTTP status 416" in text:  # shorter than it was
        return InputError(f"{path}: {_REPLACED}")
    if "ACCESS_DENIED" in text or "HTTP Status 403" in text or "InvalidAccessKeyId" in text:
        return InputError(f"{path}: the storage refuses: check [s3] access_key and secret_key, or AWS's own variables")
    if "NETWORK_CONNECTION" in text:
        return InputError(f"{path}: the storage does not answer: check [s3] endpoint ({text.rpartition(': ')[2]})")
    return InputError(f"{path}: {text[:300]}")
