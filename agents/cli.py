"""Owns the command `orgpulse`: its options, its list of commands, and how errors reach the user.

Invariant: no command's module is imported before that command runs, so `orgpulse --help` is quick.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from agents.cli_errors import EXIT_FAILED, cover_tracebacks, told
from agents.cli_group import LazyGroup
from streams.settings import Settings, config_path, load_settings

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("agents.cli_demo:demo", "See it all work: own Kafka and Redis, a simulated company base, a live view."),
    "doctor": ("agents.cli_doctor:doctor", "Check machine, settings, Kafka, topics, Redis; say what to do."),
    "topics": ("agents.cli_topics:topics", "Create the topics, or check them."),
    "worker": ("agents.cli_worker:worker", "Run one worker."),
    "import": ("agents.cli_import:import_group", "Send mail, chat, syslog, events, transactions, activities to Kafka."),
    "listen": ("agents.cli_listen:listen", "Take webhooks and syslog in, and write them to Kafka."),
    "simulate": ("agents.cli_simulate:simulate", "Send a simulated company base to Kafka."),
    "score": ("agents.cli_show:score", "Show the health score of a user or an org, with reasons."),
    "latency": ("agents.cli_latency:latency", "Show reply latency by hour of week: maps, pictures, what changed."),
    "chat": ("agents.cli_chat:chat", "Show who is online in an org's chat and how much is written; draw a report."),
    "report": (
        "agents.cli_report:report",
        "Write a report: activity, lifetime, correlations, quartiles, chat, latency.",
    ),
    "alerts": ("agents.cli_alerts:alerts", "Show orgs whose score fell; acknowledge or mute their alerts."),
    "identity": ("agents.cli_identity:identity", "Show who is who, link and unlink aliases, bring the past in line."),
    "forget": ("agents.cli_forget:forget", "Remove a person from everything, keep them out, and prove it."),
    "subject": ("agents.cli_subject:subject", "Show everything that is held about a person."),
    "export": ("agents.cli_export:export", "Write weeks, scores or alerts to Parquet, CSV or JSON lines."),
    "ledger": ("agents.cli_ledger:ledger", "Show what became of every message, and whether it adds up."),
    "dead-letters": ("agents.cli_dead_letters:dead_letters", "Show messages that can't be used, and send them again."),
    "model": ("agents.cli_model:model", "Check, show and compare health models before they go live."),
    "calibrate": ("agents.cli_calibrate:calibrate", "Find the score below which orgs leave, from a list of who left."),
    "rebuild": ("agents.cli_rebuild:rebuild", "Compute everything anew from the source topics, and swap."),
    "backfill": ("agents.cli_backfill:backfill", "Compute weeks anew in a namespace of their own; save raw topics."),
    "compare": ("agents.cli_compare:compare", "Say how a backfill's weeks differ from what was published, and why."),
    "sink": ("agents.cli_sink:sink", "Keep history in PostgreSQL or as Parquet files, from Kafka."),
    "web-password": ("agents.cli_web_password:web_password", "Make the hash of a password, or a token, for the page."),
    "acl": ("agents.cli_acl:acl", "Print what users of Kafka and Redis must be allowed, by role."),
    "tenants": ("agents.cli_tenants:tenants", "Show the tenants; create or remove what is theirs."),
    "settings": ("agents.cli_settings:settings_command", "Show the settings in effect."),
}
"""Command → (where it lives, what it does in one line)."""

WITHOUT_TENANT = ("demo", "tenants", "settings", "web-password")
"""Commands that need not be told whose they are, where there are tenants."""

_HELP_KEY = "orgpulse.help_wanted"

_EPILOG = """\b
Examples:
  orgpulse demo                              everything, on this machine
  orgpulse topics create && orgpulse worker  a worker on your own Kafka and Redis
  orgpulse import mail archive.txt.gz        your own data
  orgpulse score alice@example.org           what Redis says, with reasons
  orgpulse doctor                            what is wrong, and what to do

\b
Settings come from defaults, then the settings file, then the environment
(ORGPULSE_<SECTION>_<KEY>, for example ORGPULSE_KAFKA_BROKERS=kafka-1:9092).

\b
Exit codes:
  0  done, everything is well
  1  a check found something, or the run failed
  2  the command line or the settings are wrong
"""


class OrgpulseGroup(LazyGroup):
    """All commands; user errors are told in plain lines."""

    known = COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note whether only help is wanted: it must work with broken settings too."""
        ctx.meta[_HELP_KEY] = "--help" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors that a user can mend become plain lines."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            plain = told(error, ctx.obj if isinstance(ctx.obj, Settings) else None)
            if plain is None:
                raise
            raise plain from error


@click.group(cls=OrgpulseGroup, epilog=_EPILOG, context_settings={"max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML). Default: $ORGPULSE_CONFIG, else ./orgpulse.toml if there is one.",
)
@click.option(
    "--tenant",
    metavar="NAME",
    help="Whose data it is about, of [tenants]; `none`: what runs without one. Default: $ORGPULSE_TENANT.",
)
@click.version_option(package_name="orgpulse", prog_name="orgpulse", message="%(prog)s %(version)s")
@click.pass_context
def orgpulse(ctx: click.Context, config: Path | None, tenant: str | None) -> None:
    """Health scores per user and organisation, and reply latency by hour of week, live from Kafka."""
    # The Kafka client warns about each refused connection; commands tell the outcome once instead.
    logging.getLogger("kafka").setLevel(logging.ERROR)
    if not ctx.meta[_HELP_KEY]:
        whose = ctx.invoked_subcommand not in WITHOUT_TENANT
        ctx.obj = load_settings(config_in_use(config), tenant=tenant, must_say_whose=whose)


def config_in_use(named: Path | None) -> Path | None:
    """Return the settings file that is read: the one named, else where settings are by default."""
    return named if named is not None else config_path()


def settings_of(ctx: click.Context) -> Settings:
    """Return the loaded settings of a command's context."""
    settings = ctx.find_root().obj
    if not isinstance(settings, Settings):
        raise TypeError("the settings are not loaded")
    return settings


def main() -> None:
    """Run the command line and exit with its code."""
    cover_tracebacks()
    try:
        orgpulse(prog_name="orgpulse")
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        sys.stderr.close()
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
