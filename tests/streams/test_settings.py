"""Settings: which source wins, what is refused, and that the documentation is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.settings import (
    Settings,
    SettingsError,
    config_path,
    environment_of,
    load_settings,
    override,
    redacted_url,
    setting_types,
    variable_of,
)
from streams.settings_docs import description, effective_toml, pages


def refusal(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None) -> tuple[str, str]:
    """Load settings that must be refused; return the message, without the folder, and the remedy."""
    path = tmp_path / "o.toml"
    path.write_text(toml, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ or {})
    return caught.value.message.replace(f"{tmp_path}/", ""), caught.value.remedy


def test_without_file_and_environment_everything_is_at_its_default() -> None:
    assert load_settings(None, {}) == Settings()


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text('[kafka]\npartitions = 6\nprefix = "a."\n')
    kafka = load_settings(path, {"ORGPULSE_KAFKA_PREFIX": "b."}).kafka
    assert (kafka.partitions, kafka.prefix, kafka.replication) == (6, "b.", 1)


def test_every_setting_can_be_set_by_file_and_by_environment(tmp_path: Path) -> None:
    changed = override(
        Settings(),
        {
            "kafka.partitions": 9,
            "worker.static_membership": True,
            "time.tick_seconds": 1.5,
            "log.format": "console",
            "ingest.channels": {"#a": "1", "list@example.org": "2"},
            "metrics.orgs": ["7", "8"],
        },
    )
    path = tmp_path / "o.toml"
    path.write_text(effective_toml(changed), encoding="utf-8")
    assert load_settings(path, {}) == changed
    assert load_settings(None, environment_of(changed)) == changed


def test_the_example_file_changes_nothing_as_shipped_and_loads_with_every_comment_taken_off(tmp_path: Path) -> None:
    text = next(text for path, text in pages().items() if path.suffix == ".toml")
    path = tmp_path / "o.toml"
    path.write_text(text)
    assert load_settings(path, {}) == Settings()
    path.write_text(re.sub(r"(?m)^# (?=\w+ = |\[)", "", text))
    assert load_settings(path, {}) == Settings()


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    message, remedy = refusal(tmp_path, "[web]\nport = 1\n\n[kafka]\n# partition\npartition = 3\n")
    assert message == 'o.toml, line 6: unknown key in [kafka] "partition"'
    assert '"partitions"' in remedy


def test_an_unknown_section_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    message, remedy = refusal(tmp_path, "\n[kafak]\npartitions = 3\n")
    assert message == 'o.toml, line 2: unknown section "kafak"'
    assert '"kafka"' in remedy


@pytest.mark.parametrize(
    ("toml", "message", "wanted"),
    [
        ("[kafka]\npartitions = '3'\n", 'line 2: kafka.partitions = "3"', "a whole number from 1 to 1024"),
        ("[kafka]\n\npartitions = 0\n", "line 3: kafka.partitions = 0", "a whole number from 1 to 1024"),
        ("kafka.partitions = 1.5\n", "line 1: kafka.partitions = 1.5", "a whole number"),
        ("[web]\nport = true\n", "line 2: web.port = True", "a whole number from 0 to 65535"),
        ("[time]\ntick_seconds = nan\n", "line 2: time.tick_seconds = nan", "a number from 0.01 to 60"),
        ("[time]\ntick_seconds = inf\n", "line 2: time.tick_seconds = inf", "a number from 0.01 to 60"),
        ("[time]\nclock = 'sun'\n", 'line 2: time.clock = "sun"', 'one of "wall", "event"'),
        ("[metrics]\norgs = [1.5]\n", "line 2: metrics.orgs", "a list of text"),
        ("[ingest.channels]\n'#a' = []\n", "line 1: ingest.channels", "a table of name = text"),
        ("[kafka]\nprefix = 'a/b'\n", 'line 2: kafka.prefix = "a/b"', "text that matches"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_line_and_what_is_wanted(
    tmp_path: Path, toml: str, message: str, wanted: str
) -> None:
    found, remedy = refusal(tmp_path, toml)
    assert message in found
    assert wanted in remedy


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[kafka]\npartitions = \n")[0].startswith("o.toml, line 2: not valid TOML")


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "kafka = 3\n")[0] == "o.toml, line 1: kafka is not a section"


def test_a_missing_file_and_one_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "missing.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(SettingsError, match=r"line 1: not UTF-8"):
        load_settings(tmp_path / "latin.toml", {})


def test_a_misspelt_variable_is_refused_since_it_would_have_no_effect(tmp_path: Path) -> None:
    message, remedy = refusal(tmp_path, "", {"ORGPULSE_KAFKA_BROKER": "a:1"})
    assert message == 'environment: unknown variable "ORGPULSE_KAFKA_BROKER"'
    assert '"ORGPULSE_KAFKA_BROKERS"' in remedy


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    message, _ = refusal(tmp_path, "[kafka]\npartitions = 4\n", {"ORGPULSE_KAFKA_PARTITIONS": "four"})
    assert message == 'environment ORGPULSE_KAFKA_PARTITIONS: kafka.partitions = "four" can\'t be used'


def test_variables_that_others_set_are_left_alone() -> None:
    others = {
        "PATH": "/bin",
        "ORGPULSE_CONFIG": "x.toml",
        "ORGPULSE_CACHE": "/tmp",
        "ORGPULSE_TEST_BROKERS": "a:1",
        "ORGPULSE_WEB_PORT": "tcp://10.0.0.1:80",  # what Kubernetes sets for a service called orgpulse-web
        "ORGPULSE_WEB_PORT_80_TCP": "tcp://10.0.0.1:80",
        "ORGPULSE_WEB_SERVICE_HOST": "10.0.0.1",
        "ORGPULSE_KAFKA_PARTITIONS": "",
    }
    assert load_settings(None, others) == Settings()


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://u:geheim@h:1/0\n")
    variables = {"ORGPULSE_REDIS_URL_FILE": str(tmp_path / "url")}
    assert load_settings(None, variables).redis.url == "redis://u:geheim@h:1/0"
    with pytest.raises(SettingsError, match="is set too"):
        load_settings(None, {**variables, "ORGPULSE_REDIS_URL": "redis://h:1/0"})
    with pytest.raises(SettingsError, match="unknown variable"):  # no secret: no file
        load_settings(None, {"ORGPULSE_KAFKA_BROKERS_FILE": str(tmp_path / "url")})


def test_no_output_shows_a_secret(tmp_path: Path) -> None:
    settings = load_settings(None, {"ORGPULSE_REDIS_URL": "redis://u:ge@heim@h:1/0"})
    assert "heim" not in effective_toml(settings)
    assert "geheim" not in "".join(refusal(tmp_path, "", {"ORGPULSE_REDIS_URL": "http://u:geheim@h"}))
    text = "from redis://u:geheim@a:1 to rediss://:geheim@b:2/0?password=geheim&db=1"
    assert redacted_url(text) == "from redis://u:***@a:1 to rediss://:***@b:2/0?password=***&db=1"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[kafka]\nbrokers = 'kafka-1'\n", "line 2: kafka.brokers has"),
        ("[kafka]\nbrokers = 'a:1,b'\n", "line 2: kafka.brokers has"),
        ("[kafka]\nrequest_timeout_seconds = 5\n", "is below kafka.session_timeout_seconds"),
        ("[ingest]\nmax_value_bytes = 1048576\n", "is above half of kafka.max_message_bytes"),
        ("[redis]\nbatch = 5000\nmax_pending_writes = 1000\n", "line 2: redis.batch is above"),
        ("[time]\nsyslog_zone = 'Europe/Atlantis'\n", "is no IANA zone"),
        ("[time]\nsyslog_zone = '../etc/passwd'\n", "is no IANA zone"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, toml: str, message: str) -> None:
    assert message in refusal(tmp_path, toml)[0]


def test_an_override_is_checked_like_a_file() -> None:
    with pytest.raises(SettingsError, match="can't be used"):
        override(Settings(), {"kafka.partitions": "many"})
    with pytest.raises(SettingsError, match="unknown setting"):
        override(Settings(), {"kafka.nonesuch": 1})


def test_org_ids_are_text_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text('[metrics]\norgs = [1, "two"]\n[ingest.channels]\n"#a" = 42\n')
    settings = load_settings(path, {})
    assert settings.metrics.orgs == ("1", "two")
    assert settings.ingest.channels == {"#a": "42"}


def test_the_file_is_the_named_one_else_the_one_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_path({}) is None
    Path("orgpulse.toml").touch()
    assert config_path({}) == Path("orgpulse.toml")
    assert config_path({"ORGPULSE_CONFIG": "/else/o.toml"}) == Path("/else/o.toml")


def test_every_setting_says_what_it_means_and_has_a_variable_of_its_own() -> None:
    names = [(section, key) for section, keys in setting_types().items() for key in keys]
    assert all(len(description(setting_types()[section][key])) > 20 for section, key in names)
    assert len({variable_of(section, key) for section, key in names}) == len(names)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_the_generated_pages_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], "run: python -m streams.settings_docs"
