"""Owns how fast Kafka is asked again: at once at first, and ever more slowly the longer the trouble lasts.

Invariant: no loop of aiokafka's turns without a pause while a broker can't be reached or refuses. (Its clients ask
for metadata as fast as connections are refused; thirty producers did so thousands of times a second, while the
brokers were trying to start on the same machine.)
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.producer.sender import Sender

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Between two tries of a client that reaches nobody; the pause is a tenth of the trouble so far."""
CALM_SECONDS = 3.0
"""Without a failure for this long the trouble is over."""
SHORTEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.005, 0.25
"""Between two tries inside a transaction; the pause is a twentieth of the transaction's age."""

Client = TypeVar("Client")


class Trouble:
    """How long a client has been failing, and how long it should pause therefore."""

    def __init__(self) -> None:
        self._began = self._last = float("-inf")

    def pause_seconds(self, now: float) -> float:
        """Note a failure at *now* (monotonic seconds) and return the pause before the next try.

        >>> trouble = Trouble()
        >>> [trouble.pause_seconds(at) for at in (100.0, 102.0, 104.0, 120.0)]
        [0.05, 0.2, 0.4, 0.05]
        """
        if now - self._last > CALM_SECONDS:
            self._began = now
        self._last = now
        return min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, (now - self._began) / 10))


def patient(owner: Client) -> Client:
    """Make the client inside an aiokafka producer or consumer patient, and return its owner."""
    found: Any = owner
    client: AIOKafkaClient = getattr(found, "client", None) or found._client
    trouble = Trouble()
    update, ready = client._metadata_update, client.ready

    async def patient_update(cluster: Any, topics: Any) -> bool:
        updated: bool = await update(cluster, topics)
        if not updated:
            await asyncio.sleep(trouble.pause_seconds(time.monotonic()))
        return updated

    async def patient_ready(node: Any, *, group: Any = ConnectionGroup.DEFAULT) -> bool:
        is_ready: bool = await ready(node, group=group)
        if not is_ready:
            await asyncio.sleep(trouble.pause_seconds(time.monotonic()))
        return is_ready

    client._metadata_update, client.ready = patient_update, patient_ready
    return owner


def check_alive(fetcher: Any) -> None:
    """Check that the task inside an aiokafka consumer that fetches is still at work.

    When it ends with an error, aiokafka writes that down and goes on handing out nothing, for ever.

    Raises:
        KafkaError: If it has ended.
    """
    task = fetcher.error_future
    if task.done() and not task.cancelled():
        raise task.exception() or KafkaError("the consumer no longer fetches")


class PatientSender(Sender):  # type: ignore[misc]  # aiokafka carries no usable types
    """A transactional producer's sender whose pause between tries grows with the age of what it tries."""

    #: When the present transaction, or the producer, began; monotonic seconds.
    began = 0.0

    @property
    def _retry_backoff(self) -> float:
        age_seconds = time.monotonic() - self.began
        return min(LONGEST_RETRY_SECONDS, max(SHORTEST_RETRY_SECONDS, age_seconds / 20))

    @_retry_backoff.setter
    def _retry_backoff(self, _: float) -> None:
        """Take no fixed pause from aiokafka's constructor."""
