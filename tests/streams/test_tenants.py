"""No name of one tenant, and no pattern of a right of theirs, is another's; and what the settings file says of them."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from itertools import permutations
from pathlib import Path

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import settings as limit
from hypothesis import strategies as st

from streams import kafka_rights, redis_rights, tenants
from streams.kafka_rights import rights_of
from streams.namespace import namespace_of
from streams.published_workers import card_key
from streams.settings import Settings, SettingsError, environment_of, load_settings, of_tenant, override, tenant_names
from streams.settings_child import child_environment
from streams.tenants import DERIVED, base_problems, is_tenant_name
from streams.topic_specs import group_of, lanes_of, topic_names, topic_specs

NAMES = st.one_of(
    st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\Z").filter(is_tenant_name),
    st.sampled_from(["a", "aa", "a-a", "a-b", "ab", "t", "t-a", "backfill", "orgpulse", "g1", "v1", "0"]),
)
"""Names at random, and those that look like parts of other names."""
BACKFILLS = st.sampled_from(["a", "check", "t", "t-a"])
BASES = st.sampled_from(
    [
        ("", "orgpulse", "orgpulse:v1:", "usage"),
        ("prod.", "prod", "prod:", "usage"),
        ("orgpulse-", "orgpulse", "orgpulse", "usage"),
        ("t", "t", "tt:", "t"),
    ]
)
"""Installations by prefix, application, prefix in Redis, schema."""
LIMITED = limit(max_examples=60, deadline=None)


def base_of(names: tuple[str, str, str, str]) -> Settings:
    """Return the settings of an installation."""
    keys = ("kafka.prefix", "kafka.application", "redis.prefix", "sink.schema")
    return override(Settings(), dict(zip(keys, names, strict=True)))


def variants(settings: Settings, backfill: str) -> list[Settings]:
    """Return what runs with *settings*: generations, computed aside too, and a backfill."""
    later = override(settings, {"worker.generation": 12})
    return [settings, later, override(later, {"worker.aside": "everything"}), namespace_of(settings, backfill)]


def kafka_names(settings: Settings, backfill: str) -> dict[str, set[str]]:
    """Return kind → every name that processes with *settings* use in Kafka."""
    found: dict[str, set[str]] = {"Topic": set(), "Group": set(), "TransactionalId": set()}
    for each in variants(settings, backfill):
        names, group = topic_names(each), group_of(each)
        found["Topic"] |= {spec.name for spec in topic_specs(each)}
        sink = f"{each.kafka.application}-sink-postgres"
        found["Group"] |= {group, sink}
        lanes = {lanes_of(names)(TP(topic, 1)) for topic in (names.activities, names.summaries)}
        found["TransactionalId"] |= {f"{group}-{lane}" for lane in lanes} | {f"{sink}-lane-0"}
    return found


def redis_keys(settings: Settings, backfill: str) -> set[str]:
    """Return keys of each sort, of orgs and people whose ids look like parts of keys."""
    ids = ["acme", "t:a:", "*", ":", "backfill:a:", "x" * 20]
    kinds = [f"{kind}:{{{name}}}" for name in ids for kind in ("user", "org", "latency", "shadow:org", "alert")]
    singles = ["orgs:by-score", "changes", "totals", "workers", card_key("worker-1"), "doctor:1"]
    return {each.redis.prefix + key for each in variants(settings, backfill) for key in (*kinds, *singles)}


@LIMITED
@given(names=BASES, one=NAMES, other=st.none() | NAMES, backfill=BACKFILLS)
def test_no_name_and_no_pattern_of_one_is_anothers(
    names: tuple[str, str, str, str], one: str, other: str | None, backfill: str
) -> None:
    if one != other:
        keep_apart(base_of(names), one, other, backfill)


def keep_apart(base: Settings, one: str, other: str | None, backfill: str) -> None:
    """See that two tenants, or one and what runs without, have nothing in common."""
    assert not list(base_problems(base))
    pair = [of_tenant(base, one), base if other is None else of_tenant(base, other)]
    for mine, theirs in permutations(pair):
        names = kafka_names(theirs, backfill)
        for role in kafka_rights.ROLES:
            for right in rights_of(mine, role):
                touched = [name for name in names.get(right.kind, ()) if right.covers(name)]
                assert not touched, f"{role}: {right} gives {touched}"
        keys = redis_keys(theirs, backfill)
        for role in redis_rights.ROLES:
            (pattern,) = re.findall(r"~(\S+)", redis_rights.acl_line(role, "user", mine.redis.prefix, "0" * 64))
            assert not [key for key in keys if fnmatchcase(key, pattern)], pattern
        assert not keys & redis_keys(mine, backfill)
        assert not any(names[kind] & found for kind, found in kafka_names(mine, backfill).items())
        assert mine.sink.schema != theirs.sink.schema and mine.sink.parquet_directory != theirs.sink.parquet_directory


@LIMITED
@given(names=BASES, name=NAMES, backfill=BACKFILLS)
def test_everything_of_a_tenant_begins_with_its_namespace_and_is_covered_by_its_rights(
    names: tuple[str, str, str, str], name: str, backfill: str
) -> None:
    mine = of_tenant(base_of(names), name)
    found = kafka_names(mine, backfill)
    assert all(each.startswith(f"t.{name}.") for kind in found for each in found[kind])
    assert all(right.name.startswith(f"t.{name}.") for role in kafka_rights.ROLES for right in rights_of(mine, role)
               if right.kind != "Cluster")  # fmt: skip
    operator = rights_of(mine, "operator")
    missing = [n for kind in ("Topic", "Group") for n in found[kind] if "sink" not in n
               and not any(right.kind == kind and right.covers(n) for right in operator)]  # fmt: skip
    assert not missing
    assert all(key.startswith(f"t:{name}:") for key in redis_keys(mine, backfill))


def test_the_property_fails_once_namespaces_do_not_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "kafka_namespace", lambda name: f"t.{name}")
    with pytest.raises(AssertionError):
        keep_apart(Settings(), "a", "aorgpulse-x", "check")
    monkeypatch.undo()
    monkeypatch.setattr(tenants, "redis_namespace", lambda name: "t:")
    with pytest.raises(AssertionError):
        keep_apart(Settings(), "a", "b", "check")


@pytest.mark.parametrize(
    ("key", "value"),
    [("kafka.prefix", "t."), ("kafka.application", "t.acme.x"), ("redis.prefix", ""), ("redis.prefix", "t"),
     ("redis.prefix", "t:x:"), ("sink.schema", "t_acme_usage")],
)  # fmt: skip
def test_an_installation_that_could_be_taken_for_a_tenant_is_refused(key: str, value: str, tmp_path: Path) -> None:
    section, name = key.split(".")
    text = f'[tenants.acme]\n[{section}]\n{name} = "{value}"\n'
    with pytest.raises(SettingsError, match=rf"line 3: {key} .* does not keep apart"):
        load_settings(written(tmp_path, text), {})
    assert load_settings(written(tmp_path, text.replace("[tenants.acme]", "")), {})


FILE = """\
[kafka]
partitions = 8

[quota]
burst_seconds = 3

[tenants.acme]
events_per_second = 500

[tenants.acme.kafka]
partitions = 4

[tenants.acme.ingest.channels]
"#help" = 42

[tenants.globex]
"""


def written(folder: Path, text: str = FILE) -> Path:
    """Return a settings file that says *text*."""
    path = folder / "orgpulse.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_tenants_tables_stand_over_the_rest_and_the_environment_over_both(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert tenant_names(path) == ("acme", "globex")
    acme = load_settings(path, {"ORGPULSE_TENANT": "acme", "ORGPULSE_LATENCY_QUANTILE": "0.9"})
    assert (acme.quota.events_per_second, acme.quota.burst_seconds, acme.kafka.partitions) == (500, 3.0, 4)
    assert acme.ingest.channels == {"#help": "42"} and acme.latency.quantile == 0.9
    assert (acme.kafka.prefix, acme.kafka.application) == ("t.acme.", "t.acme.orgpulse")
    assert (acme.redis.prefix, acme.worker.tenant) == ("t:acme:orgpulse:v1:", "acme")
    assert (acme.sink.schema, acme.sink.parquet_directory) == ("t_acme_usage", "t.acme/parquet")
    globex = load_settings(path, {"ORGPULSE_TENANT": "acme"}, tenant="globex")
    assert (globex.quota.events_per_second, globex.kafka.partitions, globex.worker.tenant) == (0, 8, "globex")
    assert load_settings(path, {"ORGPULSE_KAFKA_PARTITIONS": "2"}, tenant="acme").kafka.partitions == 2


def test_without_tenants_and_beside_them_nothing_differs(tmp_path: Path) -> None:
    plain, beside = "[kafka]\npartitions = 8\n[quota]\nburst_seconds = 3\n", written(tmp_path)
    found = load_settings(beside, {}), load_settings(beside, {"ORGPULSE_TENANT": "none"})
    assert found == (load_settings(written(tmp_path, plain), {}),) * 2


def test_a_child_process_has_its_parents_settings_whatever_file_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)  # acme's partitions are what a child would take for the default, and the file says 8
    acme = load_settings(path, {"ORGPULSE_TENANT": "acme"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORGPULSE_TENANT", "acme")
    environment = child_environment(acme)
    assert "ORGPULSE_TENANT" not in environment and environment["ORGPULSE_CONFIG"] == os.devnull
    assert load_settings(Path(environment["ORGPULSE_CONFIG"]), environment) == acme
    assert load_settings(None, environment_of(acme)) == acme


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("[tenants.Acme]", 'line 1: "Acme" is no name of a tenant', "small letters"),
        ('[tenants."a.b"]', '"a.b" is no name of a tenant', "small letters"),
        ("[tenants.none]", 'line 1: no tenant may be called "none"', "another name"),
        ("tenants = 1", "line 1: tenants is not a section", "[tenants]"),
        ("[tenants]\nacme = 1", "line 2: acme is not a section", "[acme]"),
        ("[tenants.a]\nevents_per_secnd = 5", 'line 2: unknown key in [tenants.a] "events_p', "events_per_second"),
        ("[tenants.a]\nevents_per_second = -1", "line 2: quota.events_per_second = -1 can't be used", "from 0"),
        ("[tenants.a.quota]\nevents_per_second = 1", "line 1: a tenant's quota has no table", "[tenants.a]"),
        ("[tenants.a.kafka]\nprefix = 'x'", "line 2: kafka.prefix can't be set for one tenant", "[kafka] prefix holds"),
        ("[tenants.a.kafka]\napplication = 'x'", "line 2: kafka.application can't be set", "follows from"),
        ("[tenants.a.redis]\nprefix = 'x:'", "line 2: redis.prefix can't be set", "follows from"),
        ("[tenants.a.sink]\nschema = 'x'", "line 2: sink.schema can't be set", "follows from"),
        ("[tenants.a.worker]\nname = 'x'", "line 2: worker.name is no matter of a tenant", "by itself"),
        ("[tenants.a.worker]\ntenant = 'b'", "line 2: worker.tenant is no matter", "by itself"),
        ("[worker]\ntenant = 'a'", "line 2: worker.tenant may not stand in a settings file", "--tenant NAME"),
        ("[tenants.a.kafka]\npassword = 'x'", "line 2: kafka.password may not stand in a", "password_file"),
        ("[tenants.a.latncy]\nquantile = 0.5", 'unknown key in [tenants.a] "latncy"', "latency"),
        ("[tenants.a.latency]\nquantil = 0.5", 'line 2: unknown key in [tenants.a.latency] "quantil"', "quantile"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_whoever_is_asked_for(
    text: str, message: str, remedy: str, tmp_path: Path
) -> None:
    for tenant in ("", "a"):
        with pytest.raises(SettingsError) as found:
            load_settings(written(tmp_path, text), {}, tenant=tenant)
        assert message in found.value.message and remedy in found.value.remedy


def test_a_tenant_nobody_knows_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(SettingsError, match=r'orgpulse.toml has no tenant "acne"\nThere are: acme, globex'):
        load_settings(path, {"ORGPULSE_TENANT": "acne"})
    with pytest.raises(SettingsError, match="no settings file"):
        load_settings(None, {"ORGPULSE_TENANT": "acme"})


def test_names_that_are_no_tenants_are_not_taken_for_his(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r'kafka.prefix = "" is not in the namespace of the tenant "acme"'):
        load_settings(None, {"ORGPULSE_WORKER_TENANT": "acme"})
    with pytest.raises(SettingsError, match="said twice"):
        load_settings(written(tmp_path), {"ORGPULSE_WORKER_TENANT": "acme"}, tenant="acme")


def test_every_setting_that_names_something_shared_follows_from_the_tenant() -> None:
    """A setting that comes to name what several installations share must be thought of here."""
    shared = {("kafka", "prefix"), ("kafka", "application"), ("redis", "prefix"), ("sink", "schema"),
              ("sink", "parquet_directory")}  # fmt: skip
    assert set(DERIVED) == shared
