"""Owns reading maildirs: a folder of single mails, as mail servers keep them.

Invariant: mails come in the order of their delivery, which is how their files are called; flags that change a name
(`…:2,S`) or the move from `new` to `cur` change neither order nor place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

from agents.importers.expand import Reader
from agents.importers.files import Archive, Files, FilesProgress, Folder
from agents.importers.mail import MAX_HEADER_BYTES, mail_row
from agents.importers.mapping import Rule
from agents.importers.source import Row, Source
from streams.reading import plain_text

_MAIL = re.compile(r"^(?:(.*)/)?(?:cur|new)/([^/]+)$")
_SECONDS = re.compile(r"^\d{9,10}(?=\.)")


def over_maildirs(others: Reader, *, channel: str | None, org: str | None, rules: Sequence[Rule] = ()) -> Reader:
    """Return a reader that takes maildirs itself and leaves everything else to *others*.

    A mail's channel is *channel*, else the name of its maildir; folders of a Maildir++ (`.Lists.dev`) are maildirs too.
    """

    def read(source: Source) -> Iterator[Row]:
        files = source.content
        mails = _mails(files) if isinstance(files, Folder | Archive) else []
        if not mails:
            yield from others(source)
            return
        progress = cast(FilesProgress, source.raw)
        for where, name in mails:
            folder = plain_text(where.rpartition("/")[2].lstrip(".")) or source.name
            mail = progress.opened(cast(Files, files).open(name))
            try:
                header = _header(mail)
            finally:
                progress.finished(mail, files.sizes[name])
            yield mail_row(header, channel or folder, org, rules, folder)._replace(place=mail.name)

    return read


def _mails(files: Files) -> list[tuple[str, str]]:
    """Return (maildir, file) of every mail by delivery, whatever maildir it is in."""
    found = []
    for name in files.sizes:
        match = _MAIL.match(name)
        if match is None or match[2].startswith("."):
            continue
        unique = match[2].partition(":")[0]
        stamp = _SECONDS.match(unique)
        found.append((int(stamp[0]) if stamp else 0, unique, match[1] or "", name))
    return [(where, name) for _, _, where, name in sorted(found)]


def _header(mail: Source) -> bytes | None:
    """Return the mail's headers, `None` if they are over `MAX_HEADER_BYTES`; its body stays unread."""
    header, size = [], 0
    for line in mail.lines():
        if line is None:
            return None
        if not line.strip():
            break
        size += len(line)
        if size > MAX_HEADER_BYTES:
            return None
        header.append(line)
    return b"".join(header)
