"""What a process in service says of itself, and how it waits for its calls."""

import asyncio
import logging
import ssl
from msgspec.structs import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lava_proxy.addons import serving
from lava_proxy.addons.authorities import upstream_authorities
from lava_proxy.addons.drain import drain
from lava_proxy.addons.edge import Control, Edge
from lava_proxy.addons.logs import LineFormatter
from lava_proxy.addons.serving import Serving
from lava_proxy.core.errors import InvalidSettings
from lava_proxy.core.ports import Backlog
from lava_proxy.services.exchange import Ending
from lava_proxy.wiring import MadeHome
from tests.addons.fake_line import FakeLine
from tests.support.certificates import Authority

HEALTHY = Backlog(waiting=0, oldest_us=0)


def served(folder: Path, backlog: Backlog) -> Serving:
    house = SimpleNamespace(ledger=SimpleNamespace(backlog=lambda: backlog), home=SimpleNamespace(folder=folder))
    return Serving(house=house, registered=None, calls=None, ca_file="")  # type: ignore[arg-type]


def test_it_is_ready_while_the_ledger_is_healthy(tmp_path: Path) -> None:
    assert served(tmp_path, HEALTHY).unready() is None


def test_a_ledger_that_fails_lags_or_has_no_room_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = replace(HEALTHY, failure="database is locked")
    lagging = replace(HEALTHY, waiting=9, oldest_us=12_000_000)

    assert served(tmp_path, failing).unready() == "the ledger cannot be written: database is locked"
    assert served(tmp_path, lagging).unready() == "the ledger's writer is 12 seconds behind"
    monkeypatch.setattr(serving, "_DISK_BYTES_MIN", 1 << 62)
    assert "MiB left" in str(served(tmp_path, HEALTHY).unready())


def edge_of(line: FakeLine) -> Edge:
    control = Control(ca_pem=bytes, unready=lambda: None, is_stopping=lambda: True)
    return Edge(line=line, control=control, body_size_limit=1)


async def test_draining_ends_as_soon_as_the_last_call_does() -> None:
    line = FakeLine()
    call = line.call()
    draining = asyncio.ensure_future(drain(edge_of(line), seconds=3600, hurry=asyncio.Event()))
    await asyncio.sleep(0.1)
    assert not draining.done()
    call.close(Ending.COMPLETE)

    assert await asyncio.wait_for(draining, 10) == 0
    assert call.endings == [Ending.COMPLETE]


@pytest.mark.parametrize("why", ["deadline", "hurry"])
async def test_what_does_not_end_in_time_is_closed_as_stopped(why: str) -> None:
    line, hurry = FakeLine(), asyncio.Event()
    call = line.call()
    if why == "hurry":
        hurry.set()

    assert await drain(edge_of(line), seconds=0 if why == "deadline" else 3600, hurry=hurry) == 1
    assert call.endings == [Ending.STOPPED]


def test_the_operators_authorities_are_added_to_the_systems(tmp_path: Path, authority: Authority) -> None:
    merged = upstream_authorities(authority.certificate_file, tmp_path / "run" / "merged.pem")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(merged)
    system = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    system.load_verify_locations(upstream_authorities(None, tmp_path / "unused"))

    assert trust.cert_store_stats()["x509_ca"] == system.cert_store_stats()["x509_ca"] + 1
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\xfe"])
def test_a_file_without_certificates_is_a_wrong_setting(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(InvalidSettings, match="is no PEM file of certificates"):
        upstream_authorities(file, tmp_path / "merged.pem")


def test_a_line_of_the_log_has_the_instant_the_place_and_the_figures() -> None:
    record = logging.makeLogRecord(
        {
            "name": "lava_proxy.x",
            "levelname": "INFO",
            "msg": "settled %s",
            "args": ("it",),
            "created": 1_767_225_600.25,
            "msecs": 250.0,
        }
    )
    record.request_id, record.charge_nanos = "req_1", 12
    line = LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s").format(record)

    assert line == "2026-01-01T00:00:00.250Z INFO lava_proxy.x: settled it charge_nanos=12 request_id=req_1"


def test_a_home_is_taken_out_of_service_at_the_end(made_home: MadeHome) -> None:
    from lava_proxy.settings import load_settings

    settings = load_settings(made_home.home)
    with serving.serving(made_home.home, settings) as first:
        instance = first.registered.instance.instance_id
        assert first.house.instances.is_alive(instance)
        assert first.edge().line is cast(object, first.calls)
    with serving.serving(made_home.home, settings) as second:
        assert not second.house.instances.is_alive(instance)
