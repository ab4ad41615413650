"""Settings of access that can't work are refused before anything is connected, with their place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.kafka_access import aiokafka_options, faust_credentials, kafka_python_options
from streams.settings import Settings, SettingsError, environment_of, load_settings, override
from tests.security.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def refusal(tmp_path: Path, toml: str) -> str:
    path = tmp_path / "o.toml"
    path.write_text(toml, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    assert len(caught.value.remedy) > 8
    return caught.value.message.replace(f"{tmp_path}/", "")


LOGIN = '[kafka]\nsecurity = "sasl_ssl"\nusername = "me"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[kafka]\nsecurity = "sasl_ssl"\n', 'line 2: kafka.security = "sasl_ssl" needs [kafka] username'),
        (LOGIN, "line 3: kafka.username has no password"),
        (LOGIN + 'password = "x"\n', "line 4: kafka.password may not stand in a settings file"),
        (LOGIN + 'password_file = "/none"\n', "line 4: kafka.password_file = \"/none\" can't be read: No such file"),
        (LOGIN + 'password_file = "{tmp}/empty"\n', "empty\" is empty"),
        (LOGIN + 'password_file = "{tmp}/pw"\nca_file = "/none"\n', "line 5: kafka.ca_file = \"/none\" can't be read"),
        (LOGIN + 'password_file = "{tmp}/pw"\nca_file = "{tmp}/pw"\n', "pw\" holds no certificate"),
        ('[kafka]\nusername = "me"\n', 'line 2: kafka.username has no effect with security = "plaintext"'),
        ('[kafka]\nca_file = "{ca}"\n', "line 2: kafka.ca_file has no effect without TLS"),
        ('[kafka]\nsecurity = "ssl"\nkey_file = "{good}"\n', "line 3: kafka.key_file is set without certificate_file"),
        ('[kafka]\nsecurity = "ssl"\ncertificate_file = "{expired}"\n', "expired at"),
        ('[kafka]\nsecurity = "ssl"\ncertificate_file = "{good}"\nkey_file = "{other}"\n', "does not belong"),
        ('[kafka]\nsecurity = "ssl"\ncertificate_file = "{ca}"\n', "can't be used"),
        ('[kafka]\nsecurity = "tls"\n', 'line 2: kafka.security = "tls" can\'t be used'),
        ('[kafka]\nsecurity = "sasl_plaintext"\nsasl_mechanism = "PLAIN"\nusername = "me"\n'
         'password_file = "{tmp}/pw"\n',
         'line 3: kafka.sasl_mechanism = "PLAIN" would send the password readable'),
        ('[redis]\nusername = "me"\n', "line 2: redis.username has no password"),
        ('[redis]\nurl = "redis://me:x@h/0"\nusername = "me"\n', "line 3: redis.username is set, and the URL"),
        ('[redis]\nca_file = "{ca}"\n', "line 2: redis.ca_file has no effect without TLS"),
        ('[redis]\nurl = "rediss://h/0"\ncertificate_file = "{expired}"\n', "line 3: redis.certificate_file"),
    ],
)  # fmt: skip
def test_what_can_not_work_is_refused_with_its_line(tmp_path: Path, authority: Authority, toml: str, said: str) -> None:
    (tmp_path / "pw").write_text("secret-of-mine\n")
    (tmp_path / "empty").write_text("\n")
    places = {
        "{tmp}": str(tmp_path), "{ca}": str(authority.ca), "{good}": str(authority.certify("good")),
        "{other}": str(authority.certify("other")), "{expired}": str(authority.certify("expired", days=-1)),
    }  # fmt: skip
    for name, path in places.items():
        toml = toml.replace(name, path)
    assert said in refusal(tmp_path, toml)


def test_a_password_of_the_environment_may_not_stand_beside_a_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret-of-mine\n")
    both = {
        "ORGPULSE_KAFKA_SECURITY": "sasl_plaintext", "ORGPULSE_KAFKA_USERNAME": "me",
        "ORGPULSE_KAFKA_PASSWORD": "other", "ORGPULSE_KAFKA_PASSWORD_FILE": str(tmp_path / "pw"),
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"ORGPULSE_KAFKA_PASSWORD_FILE: kafka.password_file is set, and"):
        load_settings(None, both)


def test_settings_become_the_same_login_for_every_client(tmp_path: Path, authority: Authority) -> None:
    password = tmp_path / "pw"
    password.write_text("secret-of-mine\n")
    settings = override(
        Settings(),
        {"kafka.brokers": "a:1, b:2", "kafka.security": "sasl_ssl", "kafka.username": "me", "kafka.sasl_mechanism":
         "SCRAM-SHA-256", "kafka.password_file": str(password), "kafka.ca_file": str(authority.ca)},
    )  # fmt: skip
    assert load_settings(None, environment_of(settings)) == settings
    options = aiokafka_options(settings.kafka)
    context = options.pop("ssl_context")
    assert options == {
        "bootstrap_servers": ["a:1", "b:2"], "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "me", "sasl_plain_password": "secret-of-mine",
    }  # fmt: skip
    assert context.check_hostname and context.get_ca_certs()
    assert kafka_python_options(settings.kafka) == options | {"ssl_context": context}, "one context while files stay"
    credentials = faust_credentials(settings.kafka)
    assert credentials is not None and credentials.username == "me" and "secret-of-mine" not in repr(credentials)
    assert faust_credentials("a:1") is None
    password.write_text("a-newer-one")
    assert aiokafka_options(settings.kafka)["sasl_plain_password"] == "a-newer-one"
