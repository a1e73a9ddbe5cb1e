"""Settings: four sources in one order, and faults that name their place."""

from pathlib import Path

import pytest

from lava_proxy.core.admission import UnpricedPolicy
from lava_proxy.core.errors import InvalidSettings
from lava_proxy.settings import Home, Settings, change_file, load_settings, resolve_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("LAVA_PORT", "LAVA_HOST", "LAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Home(tmp_path)


def write(home: Home, text: str) -> None:
    home.settings_file.write_text(text)


def test_without_any_source_the_defaults_hold(home: Home) -> None:
    settings = load_settings(home)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.unpriced is UnpricedPolicy.BLOCK
    assert settings.unpriced_hold_nanos == 1_000_000_000
    assert not settings.key_is_required


def test_a_flag_beats_the_environment_which_beats_the_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "port = 1001\ndrain_seconds = 1\nhold_ttl_seconds = 11\n")
    monkeypatch.setenv("LAVA_PORT", "1002")
    monkeypatch.setenv("LAVA_DRAIN_SECONDS", "2")
    settings = load_settings(home, {"port": 1003, "drain_seconds": None})
    assert (settings.port, settings.drain_seconds, settings.hold_ttl_seconds) == (1003, 2, 11)


def test_an_empty_variable_counts_as_not_set(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVA_PORT", "")
    assert load_settings(home).port == 8080


def test_lists_and_tables_come_from_the_environment_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVA_CONNECT_TO", "api.openai.com:443:127.0.0.1:9443, :443:[::1]:9444")
    monkeypatch.setenv("LAVA_AZURE_DEPLOYMENTS", "chat=gpt-4o, small=gpt-4o-mini")
    settings = load_settings(home)
    first, second = settings.connect_rules
    assert (first.host, first.port, first.to_host, first.to_port) == ("api.openai.com", 443, "127.0.0.1", 9443)
    assert second.matches("api.anthropic.com", 443)
    assert second.to_host == "::1"
    assert settings.azure_deployments == {"chat": "gpt-4o", "small": "gpt-4o-mini"}


def test_an_unknown_key_of_the_file_is_refused_with_the_one_that_was_meant(home: Home) -> None:
    write(home, "prot = 9090\n")
    with pytest.raises(InvalidSettings, match=r"lava\.toml: prot: there is no such setting; did you mean 'port'\?"):
        load_settings(home)


def test_a_misspelt_variable_is_refused_and_a_foreign_one_is_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAVA_SECRET_KEY", "aks_live_x")
    monkeypatch.setenv("LAVA_FLOW_VERSION", "1")
    assert load_settings(home).port == 8080
    monkeypatch.setenv("LAVA_UPGADE_URL", "https://example.com")
    with pytest.raises(InvalidSettings, match=r"LAVA_UPGADE_URL.*LAVA_UPGRADE_URL"):
        load_settings(home)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 99999", r"lava\.toml: port: .*65535, not 99999"),
        ('anonymous = "maybe"', "anonymous: .*'track' or 'refuse', not 'maybe'"),
        ("unpriced_hold = 1.5", "unpriced_hold: .*string"),
        ('unpriced_hold = "1e3"', "unpriced_hold: write plain dollars"),
        ('connect_to = ["api.openai.com"]', "HOST:PORT:HOST2:PORT2"),
        ('time_zone = "Europe/Atlantis"', "no such time zone"),
        ("port = = 1", "not valid TOML"),
        ('tls_cert = "a.pem"', "tls_cert and tls_key belong together"),
        ('instance = "../x"', "instance"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(home: Home, text: str, says: str) -> None:
    write(home, text)
    with pytest.raises(InvalidSettings, match=says):
        load_settings(home)


def test_every_fault_is_told_at_once(home: Home) -> None:
    write(home, "port = -1\ndrain_seconds = -1\n")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(home)
    assert len(caught.value.message.splitlines()) == 2


def test_a_fault_in_the_environment_or_a_flag_names_the_variable_or_the_flag(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAVA_PORT", "many")
    with pytest.raises(InvalidSettings, match=r"^LAVA_PORT: "):
        load_settings(home)
    with pytest.raises(InvalidSettings, match=r"^--port: "):
        load_settings(home, {"port": -1})


def test_relative_paths_in_the_file_start_at_the_home(home: Home) -> None:
    write(home, 'upstream_ca = "corporate.pem"\n')
    assert load_settings(home).upstream_ca == home.folder / "corporate.pem"


def test_any_address_but_loopback_makes_a_key_necessary(home: Home) -> None:
    assert not load_settings(home, {"host": "::1"}).key_is_required
    assert not load_settings(home, {"host": "localhost"}).key_is_required
    assert load_settings(home, {"host": "0.0.0.0"}).key_is_required
    assert load_settings(home, {"host": "proxy.internal"}).key_is_required
    assert load_settings(home, {"require_key": "always"}).key_is_required


def test_settings_cannot_be_changed(home: Home) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(home).port = 1  # type: ignore[misc]


def test_writing_a_key_keeps_comments_and_order(home: Home) -> None:
    write(home, "# mine\nport = 9000  # the old one\nhost = '::1'\n")
    settings = change_file(home, "port", "9001")
    assert settings.port == 9001
    assert home.settings_file.read_text() == "# mine\nport = 9001  # the old one\nhost = '::1'\n"
    change_file(home, "connect_to", "a:1:b:2")
    assert load_settings(home).connect_to == ("a:1:b:2",)
    change_file(home, "port", None)
    assert load_settings(home).port == 8080


def test_a_key_written_after_a_table_does_not_fall_into_it(home: Home) -> None:
    write(home, '[azure_deployments]\nchat = "gpt-4o"\n')
    change_file(home, "port", "9001")
    assert load_settings(home).port == 9001
    change_file(home, "azure_deployments", "small=gpt-4o-mini")
    assert load_settings(home).azure_deployments == {"small": "gpt-4o-mini"}


def test_a_value_that_cannot_be_is_never_written(home: Home) -> None:
    write(home, "port = 9000\n")
    with pytest.raises(InvalidSettings):
        change_file(home, "port", "70000")
    with pytest.raises(InvalidSettings, match="did you mean 'host'"):
        change_file(home, "hosst", "x")
    assert home.settings_file.read_text() == "port = 9000\n"


def test_a_home_is_the_flag_else_the_variable_else_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAVA_HOME", str(tmp_path / "variable"))
    assert resolve_home(tmp_path / "flag").folder == tmp_path / "flag"
    assert resolve_home().folder == tmp_path / "variable"
    monkeypatch.delenv("LAVA_HOME")
    assert resolve_home().folder.name == "lava"


def test_every_setting_says_what_it_means() -> None:
    for key, field in Settings.model_fields.items():
        assert field.description and field.description[0].isupper(), key
