"""What is saved of raw topics comes back byte by byte, and a file that is another one is never read."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.raw_files import (
    Kept,
    Manifest,
    Partition,
    RawFilesError,
    RawRecord,
    read_manifest,
    read_segment,
    write_manifest,
    write_segment,
)

RECORDS = [
    RawRecord("users", 1, 3, 5, b"a", b'{"x": "\\u00fc\\n"}'),
    RawRecord("users", 1, 4, 6, b"\xff\x00", b"\xfe not utf-8"),
    RawRecord("users", 1, 9, 4, b"b", None),
    RawRecord("users", 1, 10, 7, None, b""),
]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    segment = write_segment(tmp_path, "users", 1, RECORDS, 12)
    assert (segment.records, segment.first_offset, segment.next_offset) == (4, 3, 12)
    assert (segment.oldest_ms, segment.newest_ms) == (4, 7)
    assert list(read_segment(tmp_path, "users", 1, segment)) == RECORDS


def test_the_manifest_says_what_there_is_the_oldest_first(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    later = write_segment(tmp_path, "users", 0, [RECORDS[3]._replace(partition=0)], 11)
    former = write_segment(tmp_path, "users", 1, RECORDS, 12)
    kept = Kept("t-users", "id", [Partition(0, [later]), Partition(3, [former])])
    write_manifest(tmp_path, Manifest(sources={"users": kept}))
    found = read_manifest(tmp_path)
    assert found is not None
    assert [(n, each.first_offset) for n, each in found.segments("users")] == [(1, 3), (0, 10)]
    assert found.segments("orgs") == []


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    segment = write_segment(tmp_path, "users", 1, RECORDS, 12)
    path = tmp_path / segment.file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RawFilesError, match="SHA-256"):
        list(read_segment(tmp_path, "users", 1, segment))
    path.unlink()
    with pytest.raises(RawFilesError, match="can't be read"):
        list(read_segment(tmp_path, "users", 1, segment))


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RawFilesError, match="can't be read"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(RawFilesError, match="format 99"):
        read_manifest(tmp_path)
