"""Owns the configuration in force: read at the start, read again when one of its files changes.

Invariant: what is in force was read and checked as a whole; a new file that can't be used changes nothing but a line
in the log and a metric. An address that others reach is never open to everybody unless a setting says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from streams.clock import WallClock
from streams.settings_file import SettingsError
from streams.settings_web import WebSettings
from streams.web_config import WebConfig, load_web_config
from streams.web_hosts import is_loopback

LOOK_SECONDS = 1.0

_log = structlog.get_logger(__name__)
_Mark = tuple[tuple[str, int, int, int], ...]


class Gate:
    """The web configuration of one process."""

    def __init__(self, settings: WebSettings, host: str, setting: str) -> None:
        """Read it.

        Args:
            settings: Where the file is, and whether everybody may be let in.
            host: The address that is listened on.
            setting: What the setting of that address begins with, for those who have to change it.

        Raises:
            SettingsError: If it can't be used.
        """
        self._settings, self._host, self._setting = settings, host, setting
        self._file = Path(settings.config_file) if settings.config_file else None
        self._marked: _Mark = ()
        self.config = WebConfig()
        self.problem = ""
        """What is wrong with a newer file that is therefore not in force."""
        self._clock = WallClock()
        self.loaded_at = self._clock.now()
        self.on_change: Callable[[WebConfig], None] = lambda _: None
        self._take(*self._load())

    def tls(self) -> ssl.SSLContext | None:
        """Return what new connections are encrypted with."""
        return self.config.tls.context if self.config.tls else None

    async def watch(self) -> None:
        """Look at the files for ever, and read them when they have changed."""
        while self._file is not None:
            await asyncio.sleep(LOOK_SECONDS)
            # What a file that can't be used names may be mended without that file's being touched.
            if self.problem or _marks(self._files(self.config)) != self._marked:
                await self.reload()

    async def reload(self) -> None:
        """Read the files again."""
        before = _marks(self._files(self.config))
        try:
            found, marked = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except SettingsError as error:
            self._marked = before
            if self.problem != error.message:
                _log.error("the web configuration stays as it was", problem=error.message, remedy=error.remedy)
            self.problem = error.message
            return
        self._take(found, marked)
        _log.info("web configuration read again", users=len(found.users), tokens=len(found.tokens), tls=bool(found.tls))

    def _take(self, found: WebConfig, marked: _Mark) -> None:
        self.config, self._marked, self.problem, self.loaded_at = found, marked, "", self._clock.now()
        self.on_change(found)

    def _load(self) -> tuple[WebConfig, _Mark]:
        if self._file is None:
            self._check_open(WebConfig())
            return WebConfig(), ()
        before = _marks((self._file,))
        found = load_web_config(self._file)
        self._check_open(found)
        return found, (*before, *_marks(found.tls.files if found.tls else ()))

    def _files(self, config: WebConfig) -> tuple[Path, ...]:
        assert self._file is not None
        return self._file, *(config.tls.files if config.tls else ())

    def _check_open(self, config: WebConfig) -> None:
        """Refuse to show everything to everybody.

        Raises:
            SettingsError: If others reach the address and nobody has to say who they are.
        """
        if config.is_closed or self._settings.allow_anonymous or is_loopback(self._host):
            return
        where = self._settings.config_file or f"{self._setting}host = {self._host}"
        raise SettingsError(
            f"{where}: other machines reach {self._host}, and nobody has to say who they are",
            "Set [web] config_file to a file with basic_auth_users or bearer_tokens (docs/security-http.md), "
            f"{self._setting}host to 127.0.0.1, or, where something else keeps others out, [web] allow_anonymous.",
        )


def _marks(files: tuple[Path, ...]) -> _Mark:
    """Return what changes when a file does; one that is gone has changed."""
    found = []
    for file in files:
        try:
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append((str(file), 0, 0, 0))
    return tuple(found)
