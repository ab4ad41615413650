"""Notices that Redis is another one than before, or has lost what it was told, though nothing failed.

Invariant: while `change` returns nothing, the server is the same process with the same history, and has not been
emptied or set back since the last look. Three things say so: the process (`run_id`), the history that it replicates
(`master_replid`, new after every change of roles), and a marker key of this sink alone, whose value moves on with
every look: it is gone after a FLUSHALL, and an older one after a snapshot or a lagging replica took over.
"""

from __future__ import annotations

from uuid import uuid4

from redis.asyncio import Redis

from streams.fenced_write import SCRIPT

MARKER_SECONDS = 3600  # longest lifetime of the marker since the last look; who sleeps longer tells everything again


class Identity:
    """What one sink knows of the server it writes to."""

    def __init__(self, prefix: str, ttl_seconds: int) -> None:
        """Know nothing yet; the marker lies under *prefix* and lives no longer than other keys."""
        self._lifetime = min(ttl_seconds, MARKER_SECONDS)
        self._key = f"{prefix}sink:{uuid4().hex}"
        self._server: tuple[str, str] | None = None
        self._seen = ""  # the marker's value as Redis confirmed it
        self._number = 0

    async def change(self, client: Redis) -> str:
        """Look, load the script where it may be missing, and return what changed since the last look, or nothing.

        Raises:
            RedisError, OSError: If Redis does not answer, or takes no writes; the next look then makes up for it.
        """
        # An attempt without an answer may have been carried out: it is repeated with the same value, and both count.
        tried = str(self._number + 1)
        async with client.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.info("replication")
            pipe.script_load(SCRIPT)
            pipe.set(self._key, tried, ex=self._lifetime, get=True)
            server, replication, _, marker = await pipe.execute()
        found = marker.decode("ascii", "replace") if isinstance(marker, bytes) else str(marker or "")
        now = (str(server["run_id"]), str(replication["master_replid"]))
        reason = self._reason(now, found, tried) if self._server is not None else ""
        self._server, self._seen, self._number = now, tried, self._number + 1
        return reason

    def _reason(self, now: tuple[str, str], found: str, tried: str) -> str:
        assert self._server is not None
        if now[0] != self._server[0]:
            return "redis was restarted or replaced"
        if now[1] != self._server[1]:
            return "redis changed its role or its history"
        if not found:
            return "redis was emptied"
        return "" if found in (self._seen, tried) else "redis was set back"
