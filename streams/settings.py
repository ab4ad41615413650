"""Owns the settings as a whole: where they come from, which one wins; the one reader of the environment.

Invariant: a `Settings` value is complete and checked; nothing else in the house reads the environment.
"""

from __future__ import annotations

import os
import re
import typing
import zoneinfo
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from streams.redaction import redacted_url, remember
from streams.settings_access import access_problems
from streams.settings_bridges import ListenSettings, MixpanelSettings, S3Settings
from streams.settings_file import (
    SettingsError,
    Source,
    checked_value,
    is_secret,
    only_from_environment,
    read_source,
    table_of,
    unknown_name,
)
from streams.settings_privacy import PrivacySettings
from streams.settings_sink import SinkSettings
from streams.settings_web import WebSettings
from streams.settings_wire import (
    KafkaSettings,
    LogSettings,
    MetricsSettings,
    RedisSettings,
    WorkerSettings,
)
from streams.settings_work import (
    CalibrationSettings,
    ChatSettings,
    CheckpointSettings,
    DedupeSettings,
    IngestSettings,
    LatencySettings,
    ModelSettings,
    TimeSettings,
)

__all__ = [
    "Settings",
    "SettingsError",
    "config_path",
    "environment_of",
    "load_settings",
    "override",
    "redacted_url",
    "setting_types",
    "variable_of",
]

VARIABLE_PREFIX = "ORGPULSE_"
CONFIG_VARIABLE = "ORGPULSE_CONFIG"
DEFAULT_CONFIG = Path("orgpulse.toml")

# Not settings: where the file is, where downloads are kept (deploy/local), what a test run uses.
_NOT_SETTINGS = re.compile(r"^ORGPULSE_(CONFIG|CACHE|TEST_\w+)$")

# Kubernetes puts variables of this form into every container when a service is called orgpulse-something.
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, by section. Made by `load_settings` and `override`, which check them."""

    kafka: KafkaSettings = msgspec.field(default_factory=KafkaSettings)
    redis: RedisSettings = msgspec.field(default_factory=RedisSettings)
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    web: WebSettings = msgspec.field(default_factory=WebSettings)
    time: TimeSettings = msgspec.field(default_factory=TimeSettings)
    ingest: IngestSettings = msgspec.field(default_factory=IngestSettings)
    model: ModelSettings = msgspec.field(default_factory=ModelSettings)
    calibration: CalibrationSettings = msgspec.field(default_factory=CalibrationSettings)
    latency: LatencySettings = msgspec.field(default_factory=LatencySettings)
    chat: ChatSettings = msgspec.field(default_factory=ChatSettings)
    dedupe: DedupeSettings = msgspec.field(default_factory=DedupeSettings)
    checkpoint: CheckpointSettings = msgspec.field(default_factory=CheckpointSettings)
    privacy: PrivacySettings = msgspec.field(default_factory=PrivacySettings)
    sink: SinkSettings = msgspec.field(default_factory=SinkSettings)
    listen: ListenSettings = msgspec.field(default_factory=ListenSettings)
    mixpanel: MixpanelSettings = msgspec.field(default_factory=MixpanelSettings)
    s3: S3Settings = msgspec.field(default_factory=S3Settings)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)


@cache
def setting_types() -> dict[str, dict[str, Any]]:
    """Return section → key → annotated type, in the order of declaration."""
    sections = typing.get_type_hints(Settings)
    return {name: typing.get_type_hints(section, include_extras=True) for name, section in sections.items()}


def variable_of(section: str, key: str) -> str:
    """Return the environment variable of a setting.

    >>> variable_of("kafka", "brokers")
    'ORGPULSE_KAFKA_BROKERS'
    """
    return f"{VARIABLE_PREFIX}{section}_{key}".upper()


def config_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the settings file to use when none is named: ORGPULSE_CONFIG, else ./orgpulse.toml if there."""
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "")
    if named:
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None


def secret_in(variable: str) -> str:
    """Return what a variable named by the user holds, such as an address with its password; empty if not set."""
    return os.environ.get(variable, "")


def load_settings(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: defaults, over them the file, over that the environment.

    Args:
        path: The TOML file, or None for none.
        environ: Variables to read; the process's own when None. An empty variable counts as not set.

    Raises:
        SettingsError: If a name is unknown or a value doesn't fit, with its place and what is wanted.
    """
    values: dict[tuple[str, str], Any] = {}
    places: dict[tuple[str, str], str] = {}
    if path is not None:
        _take_file(read_source(path), values, places)
    _take_environment(os.environ if environ is None else environ, values, places)
    return _checked(_built(Settings(), values), places)


def override(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """Return *settings* with some values replaced, checked like those of a file.

    Args:
        changes: ``section.key`` → value.

    Raises:
        SettingsError: If a name is unknown or a value doesn't fit.

    >>> override(Settings(), {"kafka.prefix": "trial."}).kafka.prefix
    'trial.'
    """
    kinds = setting_types()
    values: dict[tuple[str, str], Any] = {}
    for name, raw in changes.items():
        section, _, key = name.partition(".")
        if key not in kinds.get(section, {}):
            raise unknown_name("override", "setting", name, [f"{s}.{k}" for s, keys in kinds.items() for k in keys])
        values[section, key] = checked_value(raw, kinds[section][key], "override", name)
    return _checked(_built(settings, values), dict.fromkeys(values, "override"))


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that make another process load equal *settings*; defaults are left out.

    The result holds secrets as they are: hand it to a child process, never to a log.
    """
    default = Settings()
    variables: dict[str, str] = {}
    for section, key in _names():
        value = getattr(getattr(settings, section), key)
        if value == getattr(getattr(default, section), key):
            continue
        if isinstance(value, dict):
            value = ",".join(f"{name}={org}" for name, org in value.items())
        elif isinstance(value, tuple):
            value = ",".join(value)
        variables[variable_of(section, key)] = str(value).lower() if isinstance(value, bool) else str(value)
    return variables


def _names() -> Iterator[tuple[str, str]]:
    """Yield (section, key) of every setting."""
    for section, keys in setting_types().items():
        for key in keys:
            yield section, key


def _built(start: Settings, values: Mapping[tuple[str, str], Any]) -> Settings:
    """Return *start* with the values put in."""
    by_section: dict[str, dict[str, Any]] = {}
    for (section, key), value in values.items():
        by_section.setdefault(section, {})[key] = value
    changed = {name: msgspec.structs.replace(getattr(start, name), **keys) for name, keys in by_section.items()}
    return msgspec.structs.replace(start, **changed)


def _take_file(source: Source, values: dict[tuple[str, str], Any], places: dict[tuple[str, str], str]) -> None:
    """Read the known keys of the file into *values*; anything else is refused."""
    kinds = setting_types()
    for section in source.tables:
        if section not in kinds:
            raise unknown_name(source.place(section), "section", section, kinds)
        for key, raw in table_of(source.tables, section, source.place(section)).items():
            place = source.place(section, key)
            if key not in kinds[section]:
                raise unknown_name(place, f"key in [{section}]", key, kinds[section])
            if raw and only_from_environment(kinds[section][key]):
                raise SettingsError(
                    f"{place}: {section}.{key} may not stand in a settings file",
                    f"Put it into a file of its own and name that as {key}_file, or set {variable_of(section, key)}.",
                )
            values[section, key] = checked_value(raw, kinds[section][key], place, f"{section}.{key}")
            places[section, key] = place


def _take_environment(
    environ: Mapping[str, str], values: dict[tuple[str, str], Any], places: dict[tuple[str, str], str]
) -> None:
    """Read ORGPULSE_… variables into *values*; an unknown one is refused, since it has no effect."""
    kinds = setting_types()
    known = {variable_of(section, key): (section, key) for section, key in _names()}
    for variable, text in sorted(environ.items()):
        if not _is_ours(variable, text):
            continue
        place = f"environment {variable}"
        name = known.get(variable)
        if name is None:
            name = known.get(variable.removesuffix("_FILE"))
            if name is None or not variable.endswith("_FILE") or not is_secret(kinds[name[0]][name[1]]):
                raise unknown_name("environment", "variable", variable, [*known, CONFIG_VARIABLE])
            if environ.get(variable_of(*name)):
                raise SettingsError(f"{place}: {variable_of(*name)} is set too", "Set only one of the two.")
            text = _secret_file(Path(text), place)
        section, key = name
        values[name] = checked_value(text, kinds[section][key], place, f"{section}.{key}", from_text=True)
        places[name] = place


def _is_ours(variable: str, text: str) -> bool:
    """Say whether a variable is meant as a setting and holds something."""
    if not variable.startswith(VARIABLE_PREFIX) or _NOT_SETTINGS.match(variable) or not text:
        return False
    return not (_SERVICE_LINK.match(variable) or text.startswith(("tcp://", "udp://")))


def _secret_file(path: Path, place: str) -> str:
    """Return the content of a secret's file without the newline that editors add."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{place}: {path} can't be read: {error}", "Name a readable file there.") from None


def _checked(settings: Settings, places: Mapping[tuple[str, str], str]) -> Settings:
    """Check what no single value shows; return *settings* as they are.

    Raises:
        SettingsError: If two settings contradict each other.
    """
    for section, keys in setting_types().items():
        for key, annotation in keys.items():
            if is_secret(annotation) and (value := getattr(getattr(settings, section), key)):
                remember(value)
    for (section, key), problem, remedy in _contradictions(settings):
        raise SettingsError(f"{places.get((section, key), 'default')}: {section}.{key} {problem}", remedy)
    return settings


def _contradictions(settings: Settings) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Yield (setting, what is wrong, what to do)."""
    yield from access_problems(settings.kafka, settings.redis)
    kafka, ingest = settings.kafka, settings.ingest
    for broker in kafka.brokers.split(","):
        if not _is_host_port(broker.strip()):
            yield ("kafka", "brokers"), f'has "{broker}", not host:port', 'Write it as "kafka-1:9092,kafka-2:9092".'
    if kafka.request_timeout_seconds < kafka.session_timeout_seconds:
        yield ("kafka", "request_timeout_seconds"), "is below kafka.session_timeout_seconds", "Raise it, or lower that."
    if ingest.max_value_bytes > kafka.max_message_bytes // 2:
        yield (
            ("ingest", "max_value_bytes"),
            f"is above half of kafka.max_message_bytes ({kafka.max_message_bytes})",
            "A dead letter carries the message in base64 and must fit in a record: lower it, or raise that.",
        )
    if settings.redis.batch > settings.redis.max_pending_writes:
        yield ("redis", "batch"), "is above redis.max_pending_writes", "Lower it, or raise that."
    if not _is_zone(settings.time.syslog_zone):
        yield ("time", "syslog_zone"), f'= "{settings.time.syslog_zone}" is no IANA zone', 'Example: "Europe/Vienna".'
    for name, zone in settings.chat.zones.items():
        if not _is_zone(zone):
            yield ("chat", "zones"), f'has "{name}" = "{zone}", no IANA zone', 'Example: "Europe/Vienna".'


def _is_zone(name: str) -> bool:
    """Say whether *name* is an IANA time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path, a directory, an unknown name
        return False
    return True


def _is_host_port(text: str) -> bool:
    """Say whether *text* names a host and a port.

    >>> _is_host_port("kafka-1:9092"), _is_host_port("kafka-1"), _is_host_port("[::1]:9092")
    (True, False, True)
    """
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False
