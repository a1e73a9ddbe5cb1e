"""Which processes live: told by locks that fall with them, and by nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lava_proxy.core.entities import Instance, Mode
from lava_proxy.core.errors import Conflict
from lava_proxy.core.ids import InstanceId
from lava_proxy.services.instances import claim_name, is_locked, take_lock
from lava_proxy.services.presence import (
    Presence,
    all_presences,
    presence_file,
    read_presence,
    remove_presence,
    write_presence,
)
from lava_proxy.wiring import House

HOLDER = """
import sys, time
from pathlib import Path
from lava_proxy.services.instances import take_lock
lock = take_lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_registered_process_lives_until_it_ends(house: House) -> None:
    registered = house.instances.register(name="main", version="1")
    instance_id = registered.instance.instance_id
    assert house.instances.is_alive(instance_id)
    assert [instance.pid for instance in house.instances.live()] == [os.getpid()]
    house.instances.end(registered)
    assert not house.instances.is_alive(instance_id)
    assert house.instances.live() == ()
    assert not registered.lock.file.exists()


def test_a_process_that_was_killed_is_not_alive_and_is_buried_once(house: House) -> None:
    registered = house.instances.register(name="main", version="1")
    registered.lock.release()  # as the kernel does when a process dies
    assert not house.instances.is_alive(registered.instance.instance_id)
    assert (house.instances.bury_dead(), house.instances.bury_dead()) == (1, 0)
    row = house.ledger.read(lambda rows: rows.get(Instance, registered.instance.instance_id))
    assert row is not None and row.ended_us is not None


def test_an_instance_that_nobody_knows_is_not_alive(house: House) -> None:
    assert not house.instances.is_alive(InstanceId("ins_nosuch"))


def test_a_lock_holds_against_other_processes_and_falls_when_they_are_killed(tmp_path: Path) -> None:
    file = tmp_path / "locks" / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline() == b"locked\n"
    assert is_locked(file)
    assert take_lock(file) is None
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert not is_locked(file)
    lock = take_lock(file)
    assert lock is not None
    lock.release()


def test_one_name_belongs_to_one_process(tmp_path: Path) -> None:
    lock = claim_name(tmp_path, "main")
    with pytest.raises(Conflict, match="'main' runs in this home already"):
        claim_name(tmp_path, "main")
    other = claim_name(tmp_path, "other")
    lock.release()
    claim_name(tmp_path, "main").release()
    other.release()


def presence(**changes: object) -> Presence:
    facts: dict[str, object] = {
        "name": "main",
        "instance_id": "ins_1",
        "pid": 1,
        "host": "127.0.0.1",
        "port": 8080,
        "has_tls": False,
        "mode": Mode.TEST,
        "version": "1",
        "ca_file": "ca.pem",
        "database": "ledger.db",
        "log_file": None,
        "started_us": 5,
    }
    return Presence(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_proxy_is_found_by_its_file_while_its_lock_stands(tmp_path: Path) -> None:
    write_presence(tmp_path, presence())
    assert read_presence(tmp_path, "main") is None
    lock = claim_name(tmp_path, "main")
    assert read_presence(tmp_path, "main") == presence()
    assert all_presences(tmp_path) == (presence(),)
    presence_file(tmp_path, "main").write_text("{")
    assert read_presence(tmp_path, "main") is None
    remove_presence(tmp_path, "main")
    remove_presence(tmp_path, "main")
    assert read_presence(tmp_path, "main") is None
    lock.release()


@pytest.mark.parametrize(
    ("host", "has_tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8080"),
        ("0.0.0.0", False, "http://127.0.0.1:8080"),
        ("::", True, "https://[::1]:8080"),
        ("::1", False, "http://[::1]:8080"),
        ("proxy.internal", True, "https://proxy.internal:8080"),
    ],
)
def test_the_address_of_a_proxy_is_one_that_this_machine_can_use(host: str, has_tls: bool, url: str) -> None:
    assert presence(host=host, has_tls=has_tls).proxy_url == url
