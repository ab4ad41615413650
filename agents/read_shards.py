"""Folds the state of a whole installation in process: checkpoints from Kafka, then the log after them.

Owns the look at all partitions of `activities` at once. Invariant: nothing is written or committed and no group is
joined, so workers are not disturbed; each partition is as of one offset of its log.
"""

from __future__ import annotations

from collections.abc import Callable

from aiokafka.structs import TopicPartition

from agents.manifest import DamagedCheckpointError, whole
from state.activity import decode_record
from state.arrays import SchemaError
from state.health import Model
from state.limits import Limits
from state.shard import Shard
from streams.errors import StateUnusableError
from streams.log_reader import LogTruncatedError
from streams.log_state import content_of, ends_of, starts_of, stretches
from streams.settings import Settings
from streams.topic_specs import topic_names

Tell = Callable[[int, int], None]
"""Gets (records read, records to read in all)."""


async def read_shards(settings: Settings, model: Model, limits: Limits, tell: Tell) -> list[Shard]:
    """Return every partition's shard under *model*, the one that the workers run with, as of the ends of the logs.

    Raises:
        StateUnusableError: If a checkpoint is of other measures than *model*, or of another version.
        LogTruncatedError: If a log no longer reaches back to its checkpoint.
        OperatorError: If a topic is missing or could not be read to its end.
    """
    brokers, names = settings.kafka, topic_names(settings)
    content = await content_of(brokers, names.shard_changelog)
    shards = [_restored(number, parts, model, limits) for number, parts in enumerate(content)]
    starts, ends = await starts_of(brokers, [names.activities]), await ends_of(brokers, [names.activities])
    places = {TopicPartition(names.activities, shard.partition): shard.position for shard in shards}
    for tp, position in places.items():
        if position < starts[tp]:
            raise LogTruncatedError(
                f"{tp.topic}-{tp.partition} begins at {starts[tp]}, but its checkpoint ends at {position}: "
                "what lies between is gone"
            )
    total = sum(max(0, ends[tp] - position) for tp, position in places.items())
    read = 0
    tell(read, total)
    async for tp, record in stretches(brokers, places, {tp: ends[tp] for tp in places}, whole=True):
        if record.value is not None:
            shards[tp.partition].apply(decode_record(record.value), record.offset)
        read += 1
        tell(read, total)
    return shards


def _restored(number: int, parts: dict[bytes, bytes], model: Model, limits: Limits) -> Shard:
    """Return a partition's shard as of its checkpoint; without a whole one, it begins with its log."""
    shard = Shard(number, model, limits)
    if not parts:
        return shard
    try:
        shard.restore(whole(parts))
    except DamagedCheckpointError:
        return Shard(number, model, limits)
    except SchemaError as error:
        raise StateUnusableError(f"checkpoint of partition {number}: {error}") from error
    return shard
