"""The command `python -m tests.bench.profile`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local.errors import LocalError
from tests.bench import full_pipeline, small_job
from tests.bench.ground import ground
from tests.bench.peers.install import say
from tests.bench.profile import table
from tests.bench.profile.sampler import Sampler, cpu_seconds, py_spy
from tests.streams.kafka_topics import make_topics

EPILOG = """examples:
  python -m tests.bench.profile                                 both jobs, 300,000 messages each
  python -m tests.bench.profile --json before.json              keep it
  python -m tests.bench.profile --against before.json           and see what a change made of it
  python -m tests.bench.profile --only small-job --events 1000000

py-spy is installed on demand under ~/.cache/orgpulse. It must be allowed to read another process's memory: as root,
or with kernel.yama.ptrace_scope=0.
"""
JOBS = ("full-pipeline", "small-job")
PATIENCE_SECONDS = 900.0


def arguments(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.profile", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Sample workers while they process messages, and show where the time goes, step by step.",
    )  # fmt: skip
    parser.add_argument("--events", type=int, default=300_000, metavar="N", help="messages of each job (300,000)")
    parser.add_argument("--orgs", type=int, default=500, metavar="N", help="orgs of the full pipeline (500)")
    parser.add_argument("--users", type=int, default=10_000, metavar="N", help="users of the full pipeline (10,000)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers of the full pipeline (1)")
    parser.add_argument("--rate", type=int, default=100, metavar="N", help="samples a second (100)")
    parser.add_argument("--only", choices=JOBS, help="one job")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the profile")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show an earlier profile beside it")
    return parser.parse_args(line)


def main(line: list[str] | None = None) -> int:
    """Profile, print, write; return the exit code."""
    wanted = arguments(line)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a topic just made has no leader for a moment
    found: table.Document = {}
    try:
        before = table.read(wanted.against) if wanted.against else {}
        program = py_spy()
        for job in [wanted.only] if wanted.only else JOBS:
            say(f"{job}: {wanted.events:,} messages …")
            found[job] = (full_pipeline_figures if job == "full-pipeline" else small_job_figures)(wanted, program)
    except (LocalError, OSError, ValueError) as error:
        say(str(error))
        return 1
    console = Console() if sys.stdout.isatty() else Console(width=140)
    for job, now in found.items():
        console.print(table.table(job, now, before.get(job)))
    if wanted.json:
        table.write(found, wanted.json)
    return 0


def full_pipeline_figures(wanted: argparse.Namespace, program: Path) -> dict[str, Any]:
    """Profile the workers of the full pipeline, from the moment they are ready until they have ended."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-profile-")))
        sampler = Sampler(program, folder, wanted.rate)
        stack.callback(sampler.stop)
        place = stack.enter_context(ground(None, None))
        figures = full_pipeline.pipeline_rate(
            place, wanted.events, wanted.orgs, wanted.users, wanted.workers, on_start=sampler.start
        )
        profile = sampler.collect()
    return table.figures(profile, wanted.events, figures["worker_cpu_seconds"] - sampler.cpu_before)


def small_job_figures(wanted: argparse.Namespace, program: Path) -> dict[str, Any]:
    """Profile the small job's process; what loading its modules took is taken off by its share of the samples."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orgpulse-profile-")))
        bootstrap = stack.enter_context(ground(None, None)).settings.kafka.brokers
        name = f"profile-{uuid.uuid4().hex[:6]}"
        asyncio.run(make_topics(bootstrap, [f"{name}-events", f"{name}-counts-changelog"], small_job.PARTITIONS))
        asyncio.run(small_job.fill(bootstrap, f"{name}-events", wanted.events))
        sampler = Sampler(program, folder, wanted.rate)
        stack.callback(sampler.stop)
        command = [sys.executable, "-m", "tests.bench.small_job", "--job", "chunks", "--name", name]
        command += ["--bootstrap", bootstrap, "--events", str(wanted.events)]
        log = folder / "job.log"
        with log.open("wb") as file:
            job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        stack.callback(job.kill)
        sampler.start([job.pid])
        used = _seconds_at_the_end(job, log)
        profile = sampler.collect()
    share = profile.samples / max(1, sum(profile.steps.values()))
    return table.figures(profile, wanted.events, (used - sampler.cpu_before) * share)


def _seconds_at_the_end(job: subprocess.Popen[bytes], log: Path) -> float:
    """Wait for *job* and return the processor seconds it used.

    Raises:
        LocalError: If it fails or hangs.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    used = 0.0
    while os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            raise LocalError(f"The small job was not done within {PATIENCE_SECONDS:.0f} s.", "try fewer events")
        time.sleep(0.05)
    used = cpu_seconds(job.pid)  # it is still there to be read, until it is reaped
    if job.wait():
        said = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise LocalError(
            f"The small job ended with code {job.returncode}: {said[:200]}", "python -m tests.bench.small_job"
        )
    return used


if __name__ == "__main__":
    sys.exit(main())
