"""Users and orgs of the directory."""

from __future__ import annotations

import orjson
import pytest

from state.identity import OrgRecord, UserRecord
from streams.read_directory import read_org, read_user


def user(**fields: object) -> UserRecord:
    return read_user(orjson.dumps({"user_id": 8, "org_id": 7} | fields), 40, 6)


def org(**fields: object) -> OrgRecord:
    return read_org(orjson.dumps({"org_id": 7} | fields), 40)


def test_a_user_has_its_id_as_an_alias() -> None:
    assert user() == UserRecord("8", "7", ["8"], "", True, False)


def test_aliases_are_spelled_as_they_are_looked_up_and_stand_once() -> None:
    found = user(email="Ann@Example.ORG", username="Ann", aliases=["ann@example.org", 42, "Ann"])
    assert found.aliases == ["8", "ann@example.org", "Ann", "42"]


def test_licence_bot_and_job_are_taken_over() -> None:
    found = user(licensed=False, bot=True, job_type="ops", since="2020-01-01", until=None, extra=[1])
    assert (found.licensed, found.bot, found.job_type) == (False, True, "ops")


def test_a_display_name_is_plain_text_of_bounded_length() -> None:
    assert user(display_name=" Ann\nÅngström ").display_name == "Ann Ångström"
    assert user().display_name == user(display_name=None).display_name == user(display_name=" ").display_name == ""
    assert user(display_name="x" * 99).display_name == "x" * 40


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"account_value_usd": 49_999.99}, "SMB"),
        ({"account_value_usd": 50_000}, "Enterprise"),
        ({"account_value_usd": 1, "group_type": "Internal"}, "Internal"),
        ({}, ""),
    ],
)
def test_the_group_follows_from_the_accounts_value(fields: dict, group: str) -> None:
    assert org(**fields).group_type == group


def test_an_org_without_name_or_zone_gets_its_id_and_utc() -> None:
    assert org() == OrgRecord("7", "7", "UTC", "")
    assert org(name="Acme", timezone="Asia/Kolkata") == OrgRecord("7", "Acme", "Asia/Kolkata", "")
