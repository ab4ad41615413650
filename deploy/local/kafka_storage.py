"""The broker's files: formatted storage, settings, logging.

Invariant: storage is formatted by Kafka's own tool, once per Kafka version; a broker that finds its storage laid
keeps it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.local.cache import cache_directory, locked
from deploy.local.errors import LocalError
from deploy.local.ports import HOST

# All brokers of this kind share the id: they are alone, and never meet.
CLUSTER_ID = "b3JncHVsc2UtbG9jYWwtMQ"
INTERNAL_PARTITIONS = 4  # of __consumer_offsets and of __transaction_state
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


def server_properties(
    directory: Path, port: int, controller_port: int, *, node: int = 1, controllers: Mapping[int, int] | None = None
) -> dict[str, str]:
    """Return the settings of broker number *node* in *directory*; *controllers* are all nodes' controller ports.

    Where a setting is not about being on a small machine, Kafka's default stands, so that what holds here
    holds elsewhere. Three nodes keep three copies of everything, and a write needs two of them.
    """
    voters = controllers or {node: controller_port}
    copies, needed = str(min(3, len(voters))), str(max(1, min(3, len(voters)) - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(f"{number}@{HOST}:{port}" for number, port in voters.items()),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(directory / "data"),
        # Every internal topic has few partitions, or the first group waits for 50 of them.
        "offsets.topic.num.partitions": str(INTERNAL_PARTITIONS),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": str(INTERNAL_PARTITIONS),
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": needed,
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": needed,
        "default.replication.factor": copies,
        "min.insync.replicas": needed,
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


def more_listeners(settings: Mapping[str, str], listeners: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Return what further *listeners*, name → (security protocol, port), change in *settings*.

    >>> more = more_listeners({"listeners": "A://h:1", "advertised.listeners": "A://h:1"}, {"B": ("SSL", 2)})
    >>> more["listeners"], more["listener.security.protocol.map"]
    ('A://h:1,B://127.0.0.1:2', 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,B:SSL')
    """
    if not listeners:
        return {}
    added = "".join(f",{name}://{HOST}:{port}" for name, (_, port) in listeners.items())
    kinds = "".join(f",{name}:{protocol}" for name, (protocol, _) in listeners.items())
    return {
        "listeners": settings["listeners"] + added,
        "advertised.listeners": settings["advertised.listeners"] + added,
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{kinds}",
        "inter.broker.listener.name": "PLAINTEXT",
    }


def write_logging(directory: Path) -> Path:
    """Write the broker's logging settings (everything to its output) and return their path."""
    path = directory / "log4j2.properties"
    path.write_text(LOGGING, encoding="utf-8")
    return path


def lay_storage(java: Path, class_path: str, directory: Path, *, node: int = 1) -> None:
    """Put formatted, empty storage for broker number *node* into *directory*, unless it holds storage already.

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
        if source.name == META and node != 1:
            (data / META).write_text(_renumbered(source.read_text(encoding="utf-8"), node), encoding="utf-8")


def _renumbered(meta: str, node: int) -> str:
    """Return the storage's identity as that of another node: number and directory id are each node's own.

    >>> _renumbered("node.id=1\\nversion=1\\n", 3)
    'node.id=3\\nversion=1\\n'
    """
    fresh = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    meta = re.sub(r"(?m)^directory\.id=.*$", f"directory.id={fresh}", meta)
    return re.sub(r"(?m)^node\.id=.*$", f"node.id={node}", meta)


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
