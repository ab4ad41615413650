"""Owns `orgpulse acl kafka` and `orgpulse acl redis`: the rights that each role needs, ready to be given.

Invariant: it asks no server and prints no password; what it prints is what the doctor looks for.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import click
import msgspec

from agents.cli_errors import ToldError
from streams import redis_rights
from streams.kafka_access import addresses
from streams.kafka_rights import PURPOSES, ROLES, Right, Role, kafka_acls_options, rights_of, strimzi_rules
from streams.settings import Settings
from streams.tls_files import password_in

_PLACE = "SHA256-OF-THE-PASSWORD"
_USER_TEXT = re.compile(r"^[^\s#]+$")


@click.group()
def acl() -> None:
    """Print what the users of Kafka and of Redis must be allowed, and nothing more.

    It follows the settings: names of topics, groups, transactions and keys come from them.
    """


@acl.command()
@click.option("--role", type=click.Choice(ROLES), default="worker", show_default=True, help="What the user does.")
@click.option("--principal", help="Whom to allow. Default: `User:` and the role's name; with certificates `User:CN=…`.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "strimzi", "json"]),
    default="commands",
    show_default=True,
    help="kafka-acls.sh, a KafkaUser object, or data.",
)
@click.pass_obj
def kafka(settings: Settings, role: Role, principal: str | None, form: str) -> None:
    """Print what a user of Kafka must be allowed.

    \b
    Roles:
      worker    orgpulse worker
      reader    ledger, dead-letters list, report, export, compare: what only looks
      listen    orgpulse listen
      import    orgpulse import, simulate
      sink      orgpulse sink
      operator  topics, rebuild, backfill, identity, replay, alerts ack; all of these

    \b
    Examples:
      orgpulse acl kafka > worker.sh && sh worker.sh    beside kafka-acls.sh
      orgpulse acl kafka --role sink --principal User:warehouse
      orgpulse acl kafka --format strimzi | kubectl apply -f -
      orgpulse --tenant acme acl kafka --role listen    with a quota of the brokers, from bytes_per_second
    """
    rights = rights_of(settings, role)
    whom = principal or f"User:{settings.kafka.application}-{role}"
    if form == "strimzi":
        click.echo(_strimzi(settings, role, rights), nl=False)
    elif form == "json":
        found = [right._asdict() for right in rights]
        click.echo(msgspec.json.format(msgspec.json.encode({"principal": whom, "rights": found})).decode())
    else:
        click.echo(_commands(settings, role, whom, rights), nl=False)


@acl.command()
@click.option(
    "--role", type=click.Choice(redis_rights.ROLES), default="worker", show_default=True, help="What the user does."
)
@click.option("--user", help="The user's name. Default: the application's and the role's.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the user's password; the line gets its SHA-256, which is what Redis keeps. Without it, put it in.",
)
@click.pass_obj
def redis(settings: Settings, role: redis_rights.Role, user: str | None, password_file: Path | None) -> None:
    """Print a user's line of a Redis ACL file (`aclfile`), for Redis or Valkey 6.2 and newer.

    \b
    Roles:
      worker    orgpulse worker: writes, and serves its page
      reader    score, latency, chat, alerts, reports, services that look up
      consumer  services that follow the changes in a consumer group, and read
      operator  doctor; all of these

    \b
    Examples:
      orgpulse acl redis --password-file redis.password >> users.acl
      orgpulse acl redis --role reader --user page
    """
    name = user or f"{settings.kafka.application}-{role}"
    if not _USER_TEXT.match(name):
        raise click.BadParameter("a name has no blanks", param_hint="--user")
    digest = _PLACE
    if password_file is not None:
        password = password_in(str(password_file))
        if not password:
            raise ToldError(f"{password_file} is empty", "Write the password into it: `openssl rand -hex 32`.")
        digest = hashlib.sha256(password.encode()).hexdigest()
    else:
        click.echo(f'{_PLACE}: printf %s "$(cat FILE)" | sha256sum, or --password-file FILE', err=True)
    click.echo(redis_rights.acl_line(role, name, settings.redis.prefix, digest, _database(settings.redis.url)))


def _database(url: str) -> int:
    """Return the number of the database in a URL of Redis.

    >>> _database("redis://cache:6379/3"), _database("redis://cache:6379"), _database("unix:///tmp/s?db=2")
    (3, 0, 2)
    """
    found = re.search(r"[?&]db=(\d+)", url) or re.match(r"rediss?://[^/]*/(\d+)", url)
    return int(found[1]) if found else 0


def _commands(settings: Settings, role: Role, whom: str, rights: tuple[Right, ...]) -> str:
    """Return a script of calls of kafka-acls.sh."""
    where = shlex.quote(addresses(settings.kafka)[0])
    call = f"kafka-acls.sh --bootstrap-server {where} --command-config admin.properties"
    lines = [
        "#!/bin/sh",
        f"# Rights of {whom}: {PURPOSES[role]}",
        "# admin.properties: how somebody who may give rights logs in (docs/security-wire.md).",
        "set -eu",
    ]
    for right in rights:
        options = " ".join(shlex.quote(option) for option in kafka_acls_options(right))
        lines.append(f"{call} --add --allow-principal {shlex.quote(whom)} {options}")
    if rate := _producer_bytes(settings, role):
        name = shlex.quote(whom.removeprefix("User:"))
        lines.append("# What its producers may write a second, each broker by itself; beyond it they are slowed down.")
        lines.append(
            f"kafka-configs.sh --bootstrap-server {where} --command-config admin.properties --alter"
            f" --add-config producer_byte_rate={rate} --entity-type users --entity-name {name}"
        )
    return "\n".join(lines) + "\n"


def _producer_bytes(settings: Settings, role: Role) -> int:
    """Return to how many bytes a second brokers should hold a role that brings raw messages; 0 = to none."""
    return settings.quota.bytes_per_second if role in ("listen", "import") else 0


def _strimzi(settings: Settings, role: Role, rights: tuple[Right, ...]) -> str:
    """Return a KafkaUser object as JSON, which kubectl takes too; the workers' is named as in deploy/kubernetes."""
    name = settings.kafka.application if role == "worker" else f"{settings.kafka.application}-{role}"
    quotas = {"quotas": {"producerByteRate": rate}} if (rate := _producer_bytes(settings, role)) else {}
    user = {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": name, "labels": {"strimzi.io/cluster": "kafka"}},
        "spec": {"authorization": {"type": "simple", "acls": strimzi_rules(rights)}, **quotas},
    }
    return msgspec.json.format(msgspec.json.encode(user)).decode() + "\n"
