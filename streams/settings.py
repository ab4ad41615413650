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
    VARIABLE_PREFIX,
    SettingsError,
    Source,
    checked_value,
    file_value,
    is_secret,
    read_source,
    table_of,
    unknown_name,
    variable_of,
)
from streams.settings_privacy import PrivacySettings
from streams.settings_quota import QuotaSettings
from streams.settings_sink import SinkSettings
from streams.settings_tenants import SECTION as TENANTS
from streams.settings_tenants import tenants_in, unknown_tenant, unsaid_tenant
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
from streams.tenants import NO_TENANT, Problem, base_problems, derived, tenant_problems

__all__ = [
    "Settings",
    "SettingsError",
    "config_path",
    "environment_of",
    "load_settings",
    "of_tenant",
    "override",
    "redacted_url",
    "secret_in",
    "setting_types",
    "tenant_names",
    "variable_of",
]

CONFIG_VARIABLE = "ORGPULSE_CONFIG"
TENANT_VARIABLE = "ORGPULSE_TENANT"
DEFAULT_CONFIG = Path("orgpulse.toml")

# Not settings: where the file is, whose they are, where downloads are kept (deploy/local), what a test run uses.
_NOT_SETTINGS = re.compile(r"^ORGPULSE_(CONFIG|TENANT|CACHE|TEST_\w+)$")

# Kubernetes puts variables of this form into every container when a service is called orgpulse-something.
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, by section. Made by `load_settings` and `override`, which check them."""

    kafka: KafkaSettings = msgspec.field(default_factory=KafkaSettings)
    redis: RedisSettings = msgspec.field(default_factory=RedisSettings)
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    quota: QuotaSettings = msgspec.field(default_factory=QuotaSettings)
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


@cache  # looking hints up takes milliseconds, and nobody changes what is returned
def setting_types() -> dict[str, dict[str, Any]]:
    """Return section → key → annotated type, in the order of declaration."""
    sections = typing.get_type_hints(Settings)
    return {name: typing.get_type_hints(section, include_extras=True) for name, section in sections.items()}


def config_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the settings file to use when none is named: ORGPULSE_CONFIG, else ./orgpulse.toml if there."""
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "")
    if named:
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None


def secret_in(variable: str) -> str:
    """Return what a variable named by the user holds, such as an address with its password; empty if not set."""
    return os.environ.get(variable, "")


def load_settings(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    tenant: str | None = None,
    must_say_whose: bool = False,
) -> Settings:
    """Return the settings: defaults, over them the file, over that the environment.

    Args:
        path: The TOML file, or None for none.
        environ: Variables to read; the process's own when None. An empty variable counts as not set.
        tenant: Whose settings are wanted: its tables of the file stand over the file's others, and its names follow
            from its own. "none" = nobody's; when None, ORGPULSE_TENANT says it.
        must_say_whose: Where the file has tenants, one must be named, or "none": to guess would read, or write, what
            is somebody else's.

    Raises:
        SettingsError: If a name is unknown or a value doesn't fit, with its place and what is wanted.
    """
    environ = os.environ if environ is None else environ
    values: dict[tuple[str, str], Any] = {}
    places: dict[tuple[str, str], str] = {}
    source = None if path is None else read_source(path)
    known = {} if source is None else tenants_in(source, setting_types())
    if source is not None:
        _take_file(source, values, places)
    said = environ.get(TENANT_VARIABLE, "") if tenant is None else tenant
    name = "" if said == NO_TENANT else said
    if name and name not in known:
        raise unknown_tenant(name, known, path)
    if name:
        values |= {setting: entry.value for setting, entry in known[name].items()}
        places |= {setting: entry.place for setting, entry in known[name].items()}
    _take_environment(environ, values, places)
    settings = _built(Settings(), values)
    if name and settings.worker.tenant:
        raise SettingsError("it is said twice whose the settings are", f"Unset {variable_of('worker', 'tenant')}.")
    if known and not settings.worker.tenant:
        _refuse(base_problems(settings), places)
    settings = _checked(of_tenant(settings, name) if name else settings, places)
    if must_say_whose and known and not (said or settings.worker.tenant):
        raise unsaid_tenant(known, path)
    return settings


def tenant_names(path: Path | None) -> tuple[str, ...]:
    """Return the tenants that a settings file names, in its order.

    Raises:
        SettingsError: If what it says of them can't be used.
    """
    return () if path is None else tuple(tenants_in(read_source(path), setting_types()))


def of_tenant(base: Settings, name: str) -> Settings:
    """Return the settings of a tenant, in its namespace."""
    changes, kinds = derived(base, name), setting_types()
    for (section, key), value in changes.items():
        checked_value(value, kinds[section][key], f'tenant "{name}"', f"{section}.{key}")
    return _built(base, changes)


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
        if section == TENANTS:
            continue
        if section not in kinds:
            raise unknown_name(source.place(section), "section", section, [*kinds, TENANTS])
        for key, raw in table_of(source.tables, section, source.place(section)).items():
            place = source.place(section, key)
            if key not in kinds[section]:
                raise unknown_name(place, f"key in [{section}]", key, kinds[section])
            values[section, key] = file_value(raw, kinds[section][key], place, section, key)
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
                raise unknown_name("environment", "variable", variable, [*known, CONFIG_VARIABLE, TENANT_VARIABLE])
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
    _refuse(_contradictions(settings), places)
    return settings


def _refuse(problems: Iterator[Problem], places: Mapping[tuple[str, str], str]) -> None:
    """Raise the first of *problems*, with its place."""
    for (section, key), problem, remedy in problems:
        raise SettingsError(f"{places.get((section, key), 'default')}: {section}.{key} {problem}", remedy)


def _contradictions(settings: Settings) -> Iterator[Problem]:
    """Yield (setting, what is wrong, what to do)."""
    yield from access_problems(settings.kafka, settings.redis)
    yield from tenant_problems(settings)
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
