"""The command `python -m tests.bench.peers`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from rich.console import Console

from deploy.local.errors import LocalError
from deploy.local.kafka import LocalKafka
from tests.bench.peers import table
from tests.bench.peers.engines import ENGINES, Engine
from tests.bench.peers.install import say
from tests.bench.peers.measure import Run, Source, run
from tests.bench.peers.topic import fill, oracle
from tests.bench.small_job import PARTITIONS
from tests.streams.kafka_topics import make_topics

EPILOG = """examples:
  python -m tests.bench.peers                                    all engines, three rounds of a million events
  python -m tests.bench.peers --events 100000 --rounds 1         a quick look
  python -m tests.bench.peers --only ours,flink --rounds 5       two engines
  python -m tests.bench.peers --json peers.json --plot peers.svg figures and a picture to keep
  python -m tests.bench.peers --from peers.json --plot peers.png the table and the picture of an earlier run
  python -m tests.bench.peers --page docs/benchmarks.md          put the figures into the page, for the former ones

The first run installs the engines under ~/.cache/orgpulse/peers (ORGPULSE_CACHE moves it): about 2.5 GB.
An engine that can't be had is skipped, with the reason. Exit code 1: an engine gave a wrong result or failed.
"""


def arguments(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [engine.name for engine in ENGINES]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Count events per org, user and week on several engines, alternately, on one topic of one broker.",
    )  # fmt: skip
    parser.add_argument(
        "--events", type=_positive, default=1_000_000, metavar="N", help="events in the topic (1,000,000)"
    )
    parser.add_argument("--rounds", type=_positive, default=3, metavar="N", help="runs of each engine (3)")
    parser.add_argument("--only", metavar="NAMES", help=f"engines, by commas: {', '.join(names)}")
    parser.add_argument(
        "--part-events", type=_positive, default=20_000, metavar="N", help="events for stock Faust (20,000)"
    )
    parser.add_argument(
        "--patience", type=_positive, default=300, metavar="SECONDS", help="a run that takes longer is ended (300)"
    )
    parser.add_argument("--brokers", metavar="HOST:PORT", help="an existing broker; without it one is started")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the picture (.svg or .png)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="replace the figures in this Markdown page")
    parser.add_argument(
        "--from", dest="earlier", type=Path, metavar="FILE", help="measure nothing: show an earlier run's JSON"
    )
    wanted = parser.parse_args(line)
    wanted.names = wanted.only.split(",") if wanted.only else names
    unknown = [name for name in wanted.names if name not in names]
    if unknown:
        parser.error(f"there is no engine {unknown[0]!r}; there are {', '.join(names)}")
    if wanted.plot and wanted.plot.suffix not in (".svg", ".png"):
        parser.error(f"--plot draws .svg or .png, not {wanted.plot.suffix or 'a file without an ending'}")
    return wanted


def main(line: list[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    wanted = arguments(line)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a topic just made has no leader for a moment
    if wanted.earlier:
        try:
            document = table.read(wanted.earlier)
        except (OSError, ValueError) as error:
            say(str(error))
            return 2
    else:
        if not sys.platform.startswith("linux"):
            say("python -m tests.bench.peers reads /proc: it runs on Linux only.")
            return 2
        try:
            document = measure_all(wanted)
        except LocalError as error:
            say(str(error))
            return 1
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table.table(document), *table.notes(document), sep="\n")
    if wanted.json:
        table.write(document, wanted.json)
    if wanted.plot:
        table.plot(document, wanted.plot)
    if wanted.page:
        try:
            table.put_into(wanted.page, document)
        except (OSError, ValueError) as error:
            say(str(error))
            return 2
    return 1 if any(True for _ in table.failures(document)) else 0


def measure_all(wanted: argparse.Namespace) -> table.Document:
    """Fill the topic once, and run the engines alternately; each round begins with another one."""
    engines = [engine for engine in ENGINES if engine.name in wanted.names]
    runs: list[Run] = []
    skipped: dict[str, str] = {}
    for engine in engines:
        try:
            engine.command()
        except LocalError as error:
            skipped[engine.name] = error.message
            say(f"{engine.label}: skipped: {error.message}")
    there = [engine for engine in engines if engine.name not in skipped]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-peers-")))
        if wanted.brokers is None:
            wanted.brokers = stack.enter_context(LocalKafka(folder / "kafka", heap_mb=1024)).bootstrap
        whole = prepare(wanted.brokers, folder, wanted.events)
        some = min(wanted.part_events, wanted.events)
        part = prepare(wanted.brokers, folder, some) if any(engine.part for engine in there) else whole
        for number in range(wanted.rounds):
            turn = number % max(1, len(there))
            for engine in there[turn:] + there[:turn]:
                found = one_run(engine, part if engine.part else whole, wanted.patience)
                runs.append(found)
                said = found.failure or f"{found.rate:,.0f} events/s, {found.cpu_seconds:.1f} s of processor, right"
                say(f"round {number + 1} of {wanted.rounds}: {engine.label}: {said}")
    return table.document(engines, runs, skipped, wanted.events)


def one_run(engine: Engine, source: Source, patience: float) -> Run:
    """Run *engine*; whatever goes wrong in it is told in its row, and the others go on."""
    try:
        return run(engine, source, patience)
    except (LocalError, OSError, ValueError, KeyError) as error:
        return Run(engine.name, source.events, failure=f"{type(error).__name__}: {error}")


def prepare(bootstrap: str, folder: Path, events: int) -> Source:
    """Make and fill a topic of *events* events, and count them by the oracle."""
    topic, lines = f"peers-events-{events}", folder / f"events-{events}.jsonl"
    say(f"{events:,} events into {topic} …")

    async def make() -> dict[int, int]:
        await make_topics(bootstrap, [topic], PARTITIONS)
        await fill(bootstrap, topic, events, lines)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        await consumer.start()
        try:
            ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        finally:
            await consumer.stop()
        return {tp.partition: end for tp, end in ends.items()}

    ends = asyncio.run(make())
    counts = oracle(lines)
    lines.unlink()
    if sum(ends.values()) != events or sum(counts.values()) != events:
        raise LocalError(
            f"{topic} has {sum(ends.values()):,} events, the oracle {sum(counts.values()):,}.", "try again"
        )
    return Source(bootstrap, topic, events, ends, counts)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def run_as_command() -> int:
    """Run `main`; SIGTERM ends it as Ctrl-C does: engines and broker are stopped, files and topics go."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return main()
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(run_as_command())
