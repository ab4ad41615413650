"""Who is who is changed under running workers, and every figure is as if it had been known from the start.

unlink, link ──► identities ──► workers      users (another org, dated) ──► members ──► workers
     └── mend: activities read again ──► corrections ──► shards ──► Redis, weeks
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.simulate import Message, directory
from agents.simulate_base import SimulatedUser, user_message
from tests.faults import proof
from tests.faults.commands import orgpulse
from tests.faults.extent import long_form
from tests.faults.system import Size, System

pytestmark = [long_form, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]


def speakers(messages: list[Message]) -> Counter[str]:
    """Return how often each distinct_id of a product event occurs."""
    found: Counter[str] = Counter()
    for topic, _, value in messages:
        if topic != "product-events":
            continue
        try:
            said = orjson.loads(value)
            found[str(said.get("distinct_id", said.get("properties", {}).get("distinct_id")))] += 1
        except (orjson.JSONDecodeError, AttributeError):
            continue
    return found


def moved(system: System, user: SimulatedUser, org: str, **fields: Any) -> Message:
    """Return the directory's entry of a user, with another org."""
    entry = orjson.loads(user_message(system.base, user).value) | {"org_id": org} | fields
    return Message("users", user.id.encode(), orjson.dumps(entry))


def test_a_changed_identity_is_as_if_it_had_been_known_from_the_start(
    kafka: Any, redis_server: Any, tmp_path: Path
) -> None:
    with System(kafka.bootstrap, redis_server.url, tmp_path, size=Size(12, 120, 3)) as system:
        messages = system.load(time.time(), system.size.weeks)
        half = len(messages) // 2
        system.send(list(directory(system.base)))
        system.wait_for_directory()
        system.play_messages(messages[:half], 3.0).join()
        often = speakers(messages)
        people = [user for user in system.base.users if not (user.bot or user.later_email)]
        people.sort(key=lambda user: -often[user.email])
        wrong, other, mover, late = people[0], people[1], people[2], people[3]
        orgs = [org.id for org in system.base.orgs]

        assert "leads to nobody" not in orgpulse(system, "identity", "show", wrong.email)
        said = orgpulse(system, "identity", "unlink", wrong.email, "--no-mend")
        assert "is no longer" in said and "identity mend" in said
        system.workers.kill(0)  # while the others learn of it
        system.workers.start(0)
        player = system.play_messages(messages[half:], 4.0)
        assert "activities count elsewhere now" in orgpulse(system, "identity", "link", wrong.email, other.id)
        system.send([moved(system, mover, orgs[(mover.org + 1) % len(orgs)], since=time.time() - 9 * 86_400)])
        system.send([moved(system, late, orgs[(late.org + 2) % len(orgs)])])  # from now on: nothing to correct
        player.join()
        system.rest()
        orgpulse(system, "identity", "mend", mover.id, wrong.id)

        shown = json.loads(orgpulse(system, "identity", "show", wrong.email, "--check", "--json"))
        assert (shown["user"], shown["out_of_line"]) == (other.id, 0)
        assert {"alias": wrong.email.lower(), "by": "operator"} in shown["aliases"]
        stints = json.loads(orgpulse(system, "identity", "show", mover.id, "--json"))["memberships"]
        assert [stint["org"] for stint in stints] == [orgs[mover.org], orgs[(mover.org + 1) % len(orgs)]]

        system.rest()
        print(f"{system.sent} messages, {often[wrong.email]} of them by {wrong.email}; {system.workers.kills} kill")
        assert system.workers.kills == 1
        assert not proof.differences(system)
