"""Coverage-guided fuzzing of every reader and decoder with Atheris, which is no dependency of the project.

    pip install --target /tmp/atheris atheris==3.0.0
    PYTHONPATH=/tmp/atheris .venv/bin/python -m tests.fuzz.guided -max_total_time=300

Further arguments are libFuzzer's. Invariant: an input that neither is read nor rejected for a known reason ends the
run with a trace; so does one that takes longer than five seconds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
import msgspec

with atheris.instrument_imports(include=["streams", "state", "agents"]):
    from agents.directory import directory_limits_of
    from agents.wiring import sources
    from streams.clock import FixedClock
    from streams.model_file import load_model
    from streams.read_directory import org_entry, user_entry
    from streams.reading import REASONS, Rejected
    from streams.settings import Settings
    from streams.topic_specs import topic_names

from tests.fuzz.mangle import TOPICS, Mangler
from tests.fuzz.test_decoders import DECODERS, right_records

NOW_MS = 1_760_000_000_000
SEEDS_OF_EACH = 40


def readers() -> list[Callable[[bytes], Any]]:
    """Return the readers by topic, then the decoders."""
    settings = Settings()
    limits = directory_limits_of(settings)
    found = sources(settings, load_model(""), topic_names(settings), FixedClock(NOW_MS / 1000))
    return [
        *(source.read for source in found),
        lambda raw: user_entry(b"key", raw, limits),
        lambda raw: org_entry(b"key", raw, limits),
        *DECODERS.values(),
    ]


def try_one(data: bytes, known: list[Callable[[bytes], Any]]) -> None:
    """Let the reader that the first byte names read the rest."""
    if not data:
        return
    try:
        known[data[0] % len(known)](data[1:])
    except Rejected as error:
        assert error.reason in REASONS
        error.detail.encode()
    except msgspec.DecodeError:
        assert data[0] % len(known) >= len(TOPICS), "only decoders of our own bytes may say so"


def main() -> None:
    """Fuzz until stopped."""
    known, mangler = readers(), Mangler(1, NOW_MS)
    with tempfile.TemporaryDirectory() as corpus:
        for number, topic in enumerate(TOPICS):
            for n in range(SEEDS_OF_EACH):
                (Path(corpus) / f"{topic}-{n}").write_bytes(bytes([number]) + mangler.right(topic))
        for n, raw in enumerate(right_records()):
            for number in range(len(TOPICS), len(known)):
                (Path(corpus) / f"record-{n}-{number}").write_bytes(bytes([number]) + raw)
        arguments = [sys.argv[0], corpus, "-timeout=5", "-max_len=4096", "-rss_limit_mb=2048", *sys.argv[1:]]
        atheris.Setup(arguments, lambda data: try_one(data, known))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
