"""Owns what a person sees when a command fails: which errors are told in plain lines, and the exit codes.

Invariant: an error that the user can mend is one or two lines on standard error, never a traceback; a
fault of the program itself keeps its traceback.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import IO, Any

import click

from streams.redaction import cover
from streams.settings import Settings, SettingsError

EXIT_FAILED = 1
"""A check found something, or a run failed."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""


class ToldError(click.ClickException):
    """An error in the form in which the command line shows it."""

    def __init__(self, message: str, remedy: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message, and below it what to do, to standard error."""
        click.echo(f"orgpulse: {cover(self.message)}", file=file, err=True)
        if self.remedy:
            click.echo(f"  {cover(self.remedy)}", file=file, err=True)


def unknown(wanted: str, known: Sequence[str], said: str) -> ToldError:
    """Return the error that says that something is not there, with the nearest names."""
    near = get_close_matches(wanted, known, n=3, cutoff=0.5)
    if near:
        return ToldError(said, "Did you mean " + " or ".join(near) + "?")
    if known:
        return ToldError(said, f"There are for example {', '.join(known[:3])}")
    return ToldError(said, "Redis holds no scores yet: check that a worker runs (`orgpulse doctor`) and the prefix")


def told(error: Exception, settings: Settings | None = None) -> ToldError | None:
    """Return how to tell *error*, or None if it is no user's error.

    With *settings* a server that lets nobody in is asked why: its client does not say.

    Errors of this house that a user can mend carry `message` and `remedy`. Those of the Kafka and Redis
    clients are recognised only if their module was loaded: else they can't have been raised.
    """
    if isinstance(error, SettingsError):
        return ToldError(error.message, error.remedy, EXIT_USAGE)
    message, remedy = getattr(error, "message", None), getattr(error, "remedy", None)
    if isinstance(message, str) and isinstance(remedy, str):
        return ToldError(message, remedy)
    if settings is not None and (better := _of_servers(error, settings)) is not None:
        return better
    for module, base, server, section in (
        ("kafka.errors", "KafkaError", "Kafka", "[kafka] brokers"),
        ("aiokafka.errors", "KafkaError", "Kafka", "[kafka] brokers"),
        ("redis.exceptions", "RedisError", "Redis", "[redis] url"),
    ):
        kind = getattr(sys.modules.get(module), base, None)
        if kind is not None and isinstance(error, kind):
            text = f"{server}: {error or type(error).__name__}"
            return ToldError(text, f"Run `orgpulse doctor`; check {section} in the settings.")
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        text = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        return ToldError(text)
    return None


_SHUT_OUT = ("KafkaConnectionError", "KafkaTimeoutError", "NoBrokersAvailable", "NodeNotReadyError")


def _of_servers(error: Exception, settings: Settings) -> ToldError | None:
    """Say what Kafka or Redis refuses, or why it lets us not in; None if *error* is of another kind.

    Their clients are loaded where such an error came from, and nowhere else.
    """
    if "aiokafka.errors" in sys.modules or "kafka.errors" in sys.modules:
        from streams.kafka_trouble import refusal_in, trouble_with

        found = refusal_in(error)
        if found is None and type(error).__name__ in _SHUT_OUT:
            found = trouble_with(settings.kafka)
        if found is not None:
            return ToldError(found.message, found.remedy)
    if "redis.exceptions" in sys.modules:
        from redis.exceptions import RedisError

        from streams.redis_trouble import redis_trouble

        cause: BaseException | None = error
        while cause is not None:  # the reader's errors stand for the client's
            if isinstance(cause, RedisError) and not type(cause).__module__.startswith("streams."):
                return ToldError(*redis_trouble(cause, settings.redis)[:2])
            cause = cause.__cause__
    return None


def cover_tracebacks() -> None:
    """Have what Python itself prints of an error, anywhere in this process, pass by the covering of secrets."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stderr.write(cover("".join(traceback.format_exception(kind, error, trace))))

    def show_unraisable(found: sys.UnraisableHookArgs) -> None:
        if found.err_msg:
            sys.stderr.write(f"{cover(found.err_msg)}\n")
        show(found.exc_type, found.exc_value, found.exc_traceback)

    def show_of_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is not SystemExit:
            show(found.exc_type, found.exc_value, found.exc_traceback)

    class Covering(logging.Formatter):
        """What libraries log before, or without, a log of ours."""

        def format(self, record: logging.LogRecord) -> str:
            return cover(super().format(record))

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Covering())
    sys.excepthook, sys.unraisablehook, threading.excepthook = show, show_unraisable, show_of_thread
