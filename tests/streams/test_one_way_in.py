"""Every client of Kafka and Redis is made by way of the one module that knows about logins and certificates."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agents", "streams", "reports")
KAFKA = {
    "AIOKafkaClient": "aiokafka_options", "AIOKafkaProducer": "aiokafka_options",
    "AIOKafkaConsumer": "aiokafka_options", "AIOKafkaAdminClient": "aiokafka_options",
    "KafkaProducer": "kafka_python_options",
    "KafkaConsumer": "kafka_python_options", "KafkaAdminClient": "kafka_python_options",
    "KafkaClient": "kafka_python_options",
}  # fmt: skip
REDIS = {"Redis", "StrictRedis", "ConnectionPool", "BlockingConnectionPool", "Sentinel", "RedisCluster"}
MAKES_REDIS = {
    "streams/redis_access.py": "the way in itself",
    "streams/redis_sink.py": "takes a Connect beside the URL",
    "streams/reader.py": "likewise",
    "streams/reader_asyncio.py": "likewise",
    "reports/collect.py": "knows nothing of settings: is given a URL, by tests and the demo",
}
SAYS_BROKERS = {
    "streams/kafka_access.py", "streams/settings.py",
    "agents/demo_run.py", "agents/demo_system.py",  # shown on the demo's screen; from its options to settings
    "agents/doctor_tenants.py",  # compared with those of other tenants
}  # fmt: skip
SAYS_URL = {
    "agents/doctor_tenants.py",  # compared with those of other tenants
    "streams/redis_access.py", "streams/settings_access.py",
    "agents/run_worker.py", "agents/page/asking.py",  # beside `connect_of`
    "agents/doctor_redis.py", "agents/demo_run.py", "streams/redis_trouble.py",  # covered, to be shown
    "agents/cli_acl.py",  # the number of its database
    "agents/demo_system.py", "agents/demo_check.py",  # the demo's own
}  # fmt: skip


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the house with its syntax tree."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def bypassing(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield the places in a module where a client is made in another way."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in KAFKA and name != "reports/collect.py":
                spread = [k.value for k in node.keywords if k.arg is None and isinstance(k.value, ast.Call)]
                if KAFKA[called] not in {getattr(each.func, "id", "") for each in spread}:
                    yield f"{name}:{node.lineno} makes a {called} without {KAFKA[called]}"
            owner = getattr(getattr(node.func, "value", None), "id", "") or getattr(
                getattr(node.func, "value", None), "attr", ""
            )
            makes = called in REDIS or (
                called in ("from_url", "from_pool") and owner in (*REDIS, "AsyncRedis", "redis")
            )
            if makes and name not in MAKES_REDIS:
                yield f"{name}:{node.lineno} makes a client of Redis; take one from streams.redis_access"
        if isinstance(node, ast.keyword) and node.arg == "bootstrap_servers":
            yield f"{name}:{node.value.lineno} says bootstrap_servers itself"
        if isinstance(node, ast.Attribute) and node.attr == "brokers" and name not in SAYS_BROKERS:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in ("kafka", "_kafka", "kafka_settings"):
                yield f"{name}:{node.lineno} hands on the bare address: hand on the settings ([kafka] as a whole)"
        if isinstance(node, ast.Attribute) and node.attr == "url" and name not in SAYS_URL:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in ("redis", "store"):
                yield f"{name}:{node.lineno} hands on the bare URL of Redis"


def test_no_client_goes_around_the_settings_of_access() -> None:
    found = [place for name, tree in modules() for place in bypassing(tree, name)]
    assert found == []


def test_one_that_did_would_be_noticed() -> None:
    wrong = """
producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.brokers)
sender = kafka.KafkaProducer(**aiokafka_options(settings.kafka))
client = redis.Redis.from_url(settings.redis.url)
ends = await ends_of(kafka.brokers, topics)
"""
    said = "\n".join(bypassing(ast.parse(wrong), "agents/x.py"))
    for part in ("AIOKafkaProducer without", "KafkaProducer without", "bootstrap_servers itself", "client of Redis",
                 "bare URL", "x.py:5 hands on the bare address"):  # fmt: skip
        assert part in said, part


def test_faust_is_given_the_login() -> None:
    tree = ast.parse((ROOT / "streams" / "faust_app.py").read_text(encoding="utf-8"))
    given = [
        keyword
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "broker_credentials"
    ]
    assert [getattr(each.value.func, "id", "") for each in given if isinstance(each.value, ast.Call)] == [
        "faust_credentials"
    ]
