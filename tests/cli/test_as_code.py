"""`lava apply` and `lava pull`, and settings beside them in one file."""

import io
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Lava

CODE = '[meters.premium]\nname = "Premium"\nrate = "20"\n\n[alerts.low]\nkind = "balance_below"\nthreshold = "5"\n'


def test_a_file_is_tried_applied_and_pulled(lava: Lava, tmp_path: Path) -> None:
    file = tmp_path / "code.toml"
    file.write_text(CODE)
    tried = lava("apply", "-f", str(file), "--dry-run", "--json").document
    assert tried["dry_run"] is True
    assert [(c["action"], c["kind"], c["name"]) for c in tried["changes"]] == [
        ("create", "meters", "premium"),
        ("create", "alerts", "low"),
    ]
    assert "premium" not in lava("meters", "list").out
    done = lava("apply", "-f", str(file))
    assert {row["what"] for row in done.rows} == {"meters.premium", "alerts.low"}
    assert lava("apply", "-f", str(file), "--json").document["changes"] == []
    out = tmp_path / "pulled.toml"
    assert lava("pull", "--out", str(out)).code == 0
    assert lava("pull", "--out", str(out)).code == 2
    assert lava("pull").out == out.read_text()
    pulled = lava("pull", "--json").document
    assert pulled["alerts"]["low"] == {"kind": "balance_below", "threshold": "5.00"}
    assert lava("apply", "-f", str(out), "--prune", "--json").document["changes"] == []


def test_what_would_be_removed_is_asked_for(lava: Lava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lava("alerts", "create", "balance_below", "--threshold", "5")
    lava("pull", "--out", str(tmp_path / "c.toml"))
    text = (tmp_path / "c.toml").read_text().partition("[alerts")[0]
    (tmp_path / "c.toml").write_text(text)
    assert lava("apply", "-f", str(tmp_path / "c.toml"), "--prune").code == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert lava("apply", "-f", "-", "--prune", "--yes").code == 0
    assert "balance-below" not in lava("alerts", "rules").out


def test_one_lava_toml_may_hold_settings_and_code(lava: Lava, home: Path, tmp_path: Path) -> None:
    lava("init")
    own = home / "lava.toml"
    own.write_text(f"port = 9090\n\n{CODE}")
    assert lava("config", "show", "port").rows[0]["source"] != "default"
    assert lava("config", "set", "drain_seconds", "5").code == 0
    assert lava("config", "validate").code == 0
    values = tomllib.loads(own.read_text())
    assert (values["drain_seconds"], values["port"]) == (5, 9090)
    assert set(values["meters"]) == {"premium"} and set(values["meters"]["premium"]) == {"name", "rate"}
    assert set(values["alerts"]["low"]) == {"kind", "threshold"}
    assert lava("apply", "-f", str(own)).code == 0
    (tmp_path / "other.toml").write_text(own.read_text())
    refused = lava("apply", "-f", str(tmp_path / "other.toml"), "--json")
    assert refused.code == 2 and "port" in refused.error["message"]


def test_every_kind_of_code_may_stand_beside_settings(lava: Lava, home: Path) -> None:
    lava("init")
    own = home / "lava.toml"
    own.write_text(
        'port = 9090\n[plans.Pro]\namount = "25"\n[bundles."Pro/Ten"]\nplan = "Pro"\ncost = "10"\n'
        '[budgets."plan:Pro charge month"]\nlimit = "40"\n'
    )
    assert lava("config", "validate").code == 0
    assert lava("apply", "-f", str(own)).code == 0
    assert [row["name"] for row in lava("plans", "list").rows] == ["Free", "Pro"]
    assert lava("budgets", "list", "--json").document["data"][0]["limit"] == "40.0000000000"
    assert lava("apply", "-f", str(own), "--json").document["changes"] == []


def test_a_file_that_is_not_there_or_wrong_is_refused(lava: Lava, tmp_path: Path) -> None:
    assert lava("apply", "-f", str(tmp_path / "none")).code == 2
    (tmp_path / "x.toml").write_text("[alerts.x]\nkind = 'balance_below'\nthreshold = '1'\ncustomer = 'nobody'\n")
    assert lava("apply", "-f", str(tmp_path / "x.toml")).code == 3
