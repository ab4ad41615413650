"""Owns inputs in S3-compatible storage: listing a prefix, reading an object piece by piece, knowing it again by its ETag.

Invariant: an object that was replaced while it was read, or cut short, is an error and never a shorter file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Buffer, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from agents.importers.progress_file import ProgressFile
from agents.importers.source import InputError, Source, open_source
from streams.settings_bridges import S3Settings

SCHEME = "s3://"
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 4 * 1024 * 1024
"""Read at a time: one request each."""
_CONNECT_SECONDS, _REQUEST_SECONDS, _TRIES = 10.0, 60.0, 8


class ObjectPosition(msgspec.Struct, frozen=True):
    """How far one object has been imported."""

    path: str
    etag: str
    rows: int
    complete: bool


@dataclass(frozen=True)
class ObjectProgress(ProgressFile):
    """The memory of one import of one object; another ETag is another object."""

    etag: str = ""

    def position(self) -> ObjectPosition | None:
        """Return what is remembered of this very object."""
        try:
            found = msgspec.json.decode(self.location.read_bytes(), type=ObjectPosition)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found if found.etag == self.etag else None

    def recall(self) -> int:
        """Return the rows that are done."""
        found = self.position()
        return found.rows if found else 0

    def remember(self, rows: int) -> None:
        """Write down that *rows* are done."""
        self._write(rows, complete=False)

    def finish(self, rows: int) -> None:
        """Write down that the object has no more rows than these, and all are done."""
        self._write(rows, complete=True)

    def _write(self, rows: int, *, complete: bool) -> None:
        self.location.parent.mkdir(parents=True, exist_ok=True)
        draft = self.location.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(ObjectPosition(self.path, self.etag, rows, complete)))
        draft.replace(self.location)


class Storage:
    """Opens inputs wherever they are: local files, standard input, objects."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._files: Any = None

    def expanded(self, paths: Sequence[str]) -> list[str]:
        """Return *paths* with each `s3://bucket/prefix` that is no object itself replaced by the objects below it.

        Raises:
            InputError: If there is nothing, or the storage does not answer.
        """
        found: list[str] = []
        for path in paths:
            found += [path] if not path.startswith(SCHEME) else self._objects(path)
        return found

    def open(self, path: str) -> Source:
        """Open an input; gzip is told by its first two bytes.

        Raises:
            InputError: If it can't be opened.
        """
        if not path.startswith(SCHEME):
            return open_source(path)
        try:
            stream = self._storage().open_input_stream(_key(path), buffer_size=0)
            raw = io.BufferedReader(_Object(self, path, stream), _PIECE_BYTES)
            head = raw.peek(2)[:2]
        except OSError as error:
            raise _told(path, error) from error
        unpacked: IO[bytes] = raw
        if head == _GZIP_MAGIC:
            unpacked = cast(IO[bytes], io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 16))
        return Source(Path(path).name.removesuffix(".gz"), unpacked, raw, int(stream.metadata()["Content-Length"]))

    def memory(self, folder: Path, path: str, purpose: str) -> ProgressFile:
        """Return the memory of importing *path*."""
        if not path.startswith(SCHEME):
            return ProgressFile.of(folder, path, purpose)
        digest = hashlib.sha256(f"{self._settings.endpoint} {path}\n{purpose}".encode()).hexdigest()[:16]
        return ObjectProgress(path, folder / f"{Path(path).name}.{digest}.json", self.etag(path))

    def etag(self, path: str) -> str:
        """Return what tells this version of an object from others.

        Raises:
            InputError: If it is not there.
        """
        try:
            with self._storage().open_input_stream(_key(path), buffer_size=0) as stream:
                return str(stream.metadata()["ETag"].decode())
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
    """An object as a stream that knows how long it must be."""

    def __init__(self, storage: Storage, path: str, stream: Any) -> None:
        super().__init__()
        self._storage, self._path, self._stream = storage, path, stream
        said = stream.metadata()
        self._size, self._etag, self._at = int(said["Content-Length"]), said["ETag"].decode(), 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._at)
        try:
            data = self._stream.read(wanted) if wanted else b""
        except OSError as error:
            raise _told(self._path, error) from error
        view[: len(data)] = data
        self._at += len(data)
        if len(data) < wanted or (not wanted and view.nbytes):
            self._check_whole()
        return len(data)

    def _check_whole(self) -> None:
        if self._at < self._size or self._storage.etag(self._path) != self._etag:
            raise InputError(f"{self._path}: the object was replaced while it was read: import it again")

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _key(path: str) -> str:
    return path.removeprefix(SCHEME)


def _told(path: str, error: OSError) -> InputError:
    """Return a storage's error in a sentence."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: there is no such object")
    if "ACCESS_DENIED" in text or "HTTP Status 403" in text or "InvalidAccessKeyId" in text:
        return InputError(f"{path}: the storage refuses: check [s3] access_key and secret_key, or AWS's own variables")
    if "NETWORK_CONNECTION" in text:
        return InputError(f"{path}: the storage does not answer: check [s3] endpoint ({text.rpartition(': ')[2]})")
    return InputError(f"{path}: {text[:300]}")
