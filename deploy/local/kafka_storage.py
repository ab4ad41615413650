"""The broker's files: formatted storage, settings, logging.

Invariant: storage is formatted by Kafka's own tool, once per Kafka version; a broker that finds its storage laid
keeps it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.local.cache import cache_directory, locked
from deploy.local.errors import LocalError
from deploy.local.ports import HOST

# All brokers of this kind share the id: they are alone, and never meet.
CLUSTER_ID = "b3JncHVsc2UtbG9jYWwtMQ"
FORMAT_TIMEOUT_SECONDS = 60
META = "meta.properties"

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
logger.network.name = org.apache.kafka.common.network
logger.network.level = warn
"""


def server_properties(directory: Path, port: int, controller_port: int) -> dict[str, str]:
    """Return the settings of a broker in *directory*.

    Where a setting is not about being one node on a small machine, Kafka's default stands, so that what holds here
    holds elsewhere.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(directory / "data"),
        # One node: every internal topic has one replica, and few partitions, or the first group waits for 50 of them.
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "default.replication.factor": "1",
        "num.partitions": "4",
        # Quick to react: groups form at once, transactions of the dead are ended within a second of their timeout.
        "group.initial.rebalance.delay.ms": "100",
        "group.min.session.timeout.ms": "1000",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "transaction.max.timeout.ms": "900000",
        # A misspelt topic is an error, not a topic.
        "auto.create.topics.enable": "false",
        "message.timestamp.type": "CreateTime",
        # Small: two cores, and a heap in which the cleaner's default buffer alone would take 128 MB.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
    }


def write_logging(directory: Path) -> Path:
    """Write the broker's logging settings (everything to its output) and return their path."""
    path = directory / "log4j2.properties"
    path.write_text(LOGGING, encoding="utf-8")
    return path


def lay_storage(java: Path, class_path: str, directory: Path) -> None:
    """Put formatted, empty storage into *directory*, unless it holds storage already.

    The tool needs a Java of its own for over a second, and its outcome depends on Kafka's version alone; so it runs
    once, and what it wrote is copied from the cache ever after.

    Raises:
        LocalError: If the tool fails.
    """
    data = directory / "data"
    if (data / META).exists():
        return
    root = cache_directory()
    jars = sorted(path.name for path in Path(class_path.removesuffix("*")).glob("*.jar"))
    template = root / f"storage-{hashlib.sha256(' '.join(jars).encode()).hexdigest()[:12]}"
    if not (template / META).exists():
        with locked(root):
            if not (template / META).exists():
                _format(java, class_path, template)
    data.mkdir(parents=True, exist_ok=True)
    for source in sorted(template.iterdir(), key=lambda path: path.name == META):  # the mark of completeness goes last
        shutil.copyfile(source, data / source.name)


def _format(java: Path, class_path: str, template: Path) -> None:
    """Run `kafka-storage format` and keep its files as *template*."""
    with tempfile.TemporaryDirectory(dir=template.parent, prefix="format-") as scratch:
        directory = Path(scratch)
        config = directory / "server.properties"
        settings = server_properties(directory, 9092, 9093)
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", f"-Djava.io.tmpdir={directory}"]
        logging = f"-Dlog4j2.configurationFile={write_logging(directory)}"
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config)]
        command = [str(java), *options, logging, "-cp", class_path, *tool]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LocalError(
                f"Kafka's storage could not be formatted: {error}.", f"`{java} -version` must work."
            ) from error
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise LocalError(
                "Kafka's storage could not be formatted. The tool says last:\n    " + "\n    ".join(said[-5:]),
                f"`rm -r {template.parent}` (it is a cache), then try again.",
            )
        (directory / "data").rename(template)
