"""The variables of `lava run` and `lava env`: nothing of the user's is lost, and everything arrives as it was meant."""

import json
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lava_proxy.cli.environment import (
    ADDING_VARIABLES,
    PROXY_VARIABLES,
    REPLACING_VARIABLES,
    Access,
    TrustFiles,
    build_variables,
    child_environment,
    goes_around,
    merge_no_proxy,
)
from lava_proxy.cli.shells import Shell, render
from lava_proxy.cli.trust import read_certificates, write_atomically, write_bundles
from tests.support.certificates import make_authority

ACCESS = Access(address="http://127.0.0.1:8080", user="cus@t:1", key="lava_rk_ID_secret", run_id="run_1")
NO_TRUST = TrustFiles(variables={})


def pem(folder: Path, name: str) -> str:
    place = folder / name
    place.mkdir()
    return make_authority(place).certificate_file.read_text()


def test_credentials_are_percent_encoded_in_the_proxy_url() -> None:
    url = urlsplit(ACCESS.proxy_url)
    assert (unquote(url.username or ""), unquote(url.password or "")) == ("cus@t:1", "lava_rk_ID_secret")
    assert (url.hostname, url.port) == ("127.0.0.1", 8080)


def test_the_proxy_is_named_in_both_spellings() -> None:
    variables = build_variables({}, ACCESS, NO_TRUST)
    assert {variables[name] for name in PROXY_VARIABLES} == {ACCESS.proxy_url}
    assert variables["NODE_USE_ENV_PROXY"] == "1" and variables["LAVA_RUN_ID"] == "run_1"


def test_no_proxy_keeps_what_the_user_wrote_in_either_spelling() -> None:
    merged = merge_no_proxy({"NO_PROXY": "internal.example, localhost", "no_proxy": ".corp"}).split(",")
    assert merged[:2] == ["localhost", "127.0.0.1"] and merged[-2:] == ["internal.example", ".corp"]
    assert merged.count("localhost") == 1


@pytest.mark.parametrize(
    ("no_proxy", "host", "around"),
    [
        ("*", "api.openai.com", True),
        ("openai.com", "api.openai.com", True),
        (".openai.com", "api.openai.com", True),
        ("*.openai.com:443", "api.openai.com", True),
        ("penai.com", "api.openai.com", False),
        ("localhost,127.0.0.1", "api.openai.com", False),
        ("", "api.openai.com", False),
    ],
)
def test_a_no_proxy_list_that_lets_a_provider_escape_is_recognised(no_proxy: str, host: str, around: bool) -> None:
    assert goes_around(no_proxy, host) is around


def test_options_of_node_and_java_are_added_to_and_not_added_twice() -> None:
    present = {"NODE_OPTIONS": "--max-old-space-size=64", "JAVA_TOOL_OPTIONS": "-Xmx64m"}
    trust = TrustFiles(variables={}, java_store=Path("/a b/store.p12"), java_store_password="changeit")
    once = build_variables(present, ACCESS, trust)
    assert once["NODE_OPTIONS"].startswith('--max-old-space-size=64 --require "')
    assert once["JAVA_TOOL_OPTIONS"].startswith("-Xmx64m -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8080")
    assert '"-Djavax.net.ssl.trustStore=/a b/store.p12"' in once["JAVA_TOOL_OPTIONS"]
    twice = build_variables({**present, **once}, ACCESS, trust)
    assert twice["NODE_OPTIONS"] == once["NODE_OPTIONS"]


def test_the_child_does_not_get_the_merchants_key() -> None:
    environment = child_environment({"LAVA_SECRET_KEY": "aks_live_x", "PATH": "/bin"}, {"A": "1"})
    assert environment == {"PATH": "/bin", "A": "1"}


def test_without_a_bundle_of_the_users_own_the_machines_roots_are_merged_with_ours(tmp_path: Path) -> None:
    ours = pem(tmp_path, "ours")
    bundles = write_bundles(tmp_path / "bundles", {}, ours)
    assert set(bundles.variables) == {*REPLACING_VARIABLES, *ADDING_VARIABLES}
    assert {bundles.variables[name] for name in REPLACING_VARIABLES} == {bundles.system}
    system = read_certificates(bundles.system)
    assert len(system) > 20 and system[-1] == ours
    assert read_certificates(bundles.variables["NODE_EXTRA_CA_CERTS"]) == [ours]
    ssl.create_default_context(cafile=str(bundles.system))


def test_the_users_own_bundle_stays_the_only_other_trust(tmp_path: Path) -> None:
    ours, theirs = pem(tmp_path, "ours"), tmp_path / "theirs.pem"
    theirs.write_text("# a remark\n" + pem(tmp_path, "corp"))
    present = {"SSL_CERT_FILE": str(theirs), "CURL_CA_BUNDLE": str(theirs), "NODE_EXTRA_CA_CERTS": str(theirs)}
    bundles = write_bundles(tmp_path / "bundles", present, ours)
    expected = [*read_certificates(theirs), ours]
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert read_certificates(bundles.variables[name]) == expected, name
    assert bundles.variables["GIT_SSL_CAINFO"] == bundles.system
    assert not bundles.warnings


def test_a_folder_of_certificates_is_merged_too(tmp_path: Path) -> None:
    ours, folder = pem(tmp_path, "ours"), tmp_path / "folder"
    folder.mkdir()
    (folder / "corp.pem").write_text(pem(tmp_path, "corp"))
    present = {"SSL_CERT_DIR": str(folder), "REQUESTS_CA_BUNDLE": str(folder)}
    bundles = write_bundles(tmp_path / "bundles", present, ours)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        assert len(read_certificates(bundles.variables[name])) == 2, name


def test_a_bundle_that_cannot_be_read_is_told_and_replaced(tmp_path: Path) -> None:
    bundles = write_bundles(tmp_path / "b", {"PIP_CERT": str(tmp_path / "none.pem")}, pem(tmp_path, "ours"))
    assert bundles.variables["PIP_CERT"] == bundles.system
    assert "PIP_CERT" in bundles.warnings[0]


def test_a_variable_of_few_programs_is_merged_only_where_it_is_set(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pem"
    theirs.write_text(pem(tmp_path, "corp"))
    bundles = write_bundles(tmp_path / "b", {"HTTPLIB2_CA_CERTS": str(theirs)}, pem(tmp_path, "ours"))
    assert "NIX_SSL_CERT_FILE" not in bundles.variables
    assert len(read_certificates(bundles.variables["HTTPLIB2_CA_CERTS"])) == 2


def test_merging_our_own_bundle_again_changes_nothing(tmp_path: Path) -> None:
    ours = pem(tmp_path, "ours")
    first = write_bundles(tmp_path / "b", {}, ours)
    again = write_bundles(tmp_path / "b", {name: str(file) for name, file in first.variables.items()}, ours)
    assert again.variables == first.variables
    assert len(list((tmp_path / "b").iterdir())) == 2


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


NASTY = {"PLAIN": "a", "QUOTES": 'it\'s "so"', "SPACES": " a  b ", "SIGNS": "$HOME `id` \\ % * | & ; #", "EMPTY": ""}


def test_bash_reads_back_every_value_as_it_was() -> None:
    script = render(Shell.BASH, NASTY) + 'exec "$0" -c "import os,json; print(json.dumps(dict(os.environ)))"'
    answer = subprocess.run(["/bin/sh", "-c", script, sys.executable], capture_output=True, text=True, check=True)
    got = json.loads(answer.stdout)
    assert {name: got[name] for name in NASTY} == NASTY


def test_json_and_docker_keep_values_as_they_are() -> None:
    assert json.loads(render(Shell.JSON, NASTY)) == NASTY
    assert dict(line.split("=", 1) for line in render(Shell.DOCKER, NASTY).splitlines()) == NASTY


def test_fish_powershell_and_dotenv_are_quoted_by_their_rules() -> None:
    value = {"A": 'it\'s $x \\ "y"'}
    assert render(Shell.FISH, value) == "set -gx A 'it\\'s $x \\\\ \"y\"';\n"
    assert render(Shell.PWSH, value) == "$env:A = 'it''s $x \\ \"y\"'\n"
    assert render(Shell.DOTENV, value) == 'A="it\'s $x \\\\ \\"y\\""\n'
    assert render(Shell.DOTENV, {"A": '--require "x y"'}) == "A='--require \"x y\"'\n"
