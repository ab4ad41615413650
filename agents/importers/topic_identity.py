"""Owns what tells a topic from another one of the same name.

Invariant: a topic that was deleted and made anew has another identity, so an import into it begins anew.
"""

from __future__ import annotations

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from streams.sender import SendError


def topic_identity(brokers: list[str], topic: str) -> str:
    """Return the topic's name and id.

    Raises:
        SendError: If the topic does not exist, or the broker does not say.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=brokers, client_id="orgpulse-import")
        try:
            described = admin.describe_topics([topic])[0]
        finally:
            admin.close()
    except KafkaError as error:
        raise SendError(f"Kafka at {', '.join(brokers)} does not describe topic {topic}: {error}") from error
    if described["error_code"]:
        raise SendError(f"there is no topic {topic} on {', '.join(brokers)}: run `orgpulse topics create`")
    return f"{topic} {described['topic_id']}"
