"""Owns the form of log lines: structlog for ours, and the libraries' stdlib logging brought into the same form.

Invariant: one event is one line on standard error, and no line shows a password of a URL.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streams.redaction import cover

LogFormat = Literal["json", "console"]

_QUIET_LIBRARIES = ("aiokafka", "kafka", "asyncio", "faust", "mode", "aiohttp.access", "urllib3")
"""Talkative below warning: they log each heartbeat, rebalance step and request."""
_REPEATING_LIBRARIES = ("aiokafka", "kafka")
_SAME_AGAIN_SECONDS = 5.0
_MOST_REMEMBERED = 200


def configure(level: str = "info", log_format: LogFormat = "json", tenant: str = "") -> None:
    """Send everything that is logged, ours and the libraries', to standard error in one form.

    May be called again, with the last call winning; Faust installs its own handlers at start, so a
    worker calls it after that too.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; libraries stay at warning unless ``debug``.
        log_format: ``json`` (one object a line) or ``console``.
        tenant: On whose behalf this process runs; on every line then.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared = [*_shared_processors(), *([_naming(tenant)] if tenant else [])]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Thinned(time.monotonic))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _QUIET_LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(threshold if level == "debug" else max(threshold, logging.WARNING))


class _Thinned(logging.Filter):
    """Lets a library say the same thing once in a while only, and adds how often it was said in between.

    While Kafka is away, aiokafka has dozens of lines to say a second, about each connection.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._said: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether *record* is written; what is said of different brokers counts as the same."""
        if not record.name.startswith(_REPEATING_LIBRARIES) or record.levelno < logging.WARNING:
            return True
        what = (record.name, str(record.msg))
        at, left_out = self._said.pop(what, (float("-inf"), 0))
        now = self._now()
        if now - at < _SAME_AGAIN_SECONDS:
            self._said[what] = (at, left_out + 1)
            return False
        self._said[what] = (now, 0)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it before)", ()
        return True


def get_logger(name: str, **values: Any) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines carry *name* and *values*.

    Call as ``log.info("chunk committed", records=5000)``: the event is a fixed text, what varies is a value.
    """
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name).bind(**values)
    return logger


def covered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cover passwords in URLs in every text of the event, nested ones too."""
    return {key: _cover(value) for key, value in event.items()}


def _cover(value: Any) -> Any:
    """Return *value* with the passwords of URLs covered."""
    if isinstance(value, str):
        return cover(value)
    if isinstance(value, dict):
        return {key: _cover(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_cover, value)) if type(value) in (list, tuple) else value
    return value


def _naming(tenant: str) -> Processor:
    """Return what puts the tenant on an event."""

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**event, "tenant": tenant}

    return name


def _shared_processors() -> list[Processor]:
    """Return what is done to every event before it is written."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(log_format: LogFormat) -> list[Processor]:
    """Return what turns an event into a line; passwords are covered last, in tracebacks too."""
    if log_format == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            covered,
            structlog.processors.JSONRenderer(default=str),
        ]
    return [
        structlog.processors.format_exc_info,
        covered,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]
