"""What a running proxy says about itself, in ``run/<name>.json`` of its home: how commands find it.

The file alone proves nothing, a killed process leaves it behind. Whether the proxy lives is told by the lock beside it.
"""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from lava_proxy.core.addresses import url_host
from lava_proxy.core.entities import Mode
from lava_proxy.services.instances import is_locked


class Presence(Struct, frozen=True, kw_only=True):
    """Where a proxy is. ``port`` is the one that was bound, also where 0 was asked for."""

    name: str
    instance_id: str
    pid: int
    host: str
    port: int
    has_tls: bool
    mode: Mode
    version: str
    ca_file: str
    database: str
    log_file: str | None
    """``None``: standard error."""
    started_us: int

    @property
    def proxy_url(self) -> str:
        """As a client on this machine writes it. A port that listens everywhere is reached by its loopback address."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"{'https' if self.has_tls else 'http'}://{url_host(host)}:{self.port}"


def presence_file(run_folder: Path, name: str) -> Path:
    return run_folder / f"{name}.json"


def write_presence(run_folder: Path, presence: Presence) -> None:
    """Say so, all at once: a reader sees the old text or the new one."""
    file = presence_file(run_folder, presence.name)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = file.with_suffix(f".{os.getpid()}.tmp")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(presence), indent=2))
    beside.replace(file)


def remove_presence(run_folder: Path, name: str) -> None:
    presence_file(run_folder, name).unlink(missing_ok=True)


def read_presence(run_folder: Path, name: str) -> Presence | None:
    """The proxy of this name, if it lives and has said where it is."""
    if not is_locked(run_folder / f"{name}.lock"):
        return None
    try:
        return msgspec.json.decode(presence_file(run_folder, name).read_bytes(), type=Presence)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def all_presences(run_folder: Path) -> tuple[Presence, ...]:
    """Every proxy that runs in this home, by name."""
    names = sorted(file.stem for file in run_folder.glob("*.json"))
    found = (read_presence(run_folder, name) for name in names)
    return tuple(presence for presence in found if presence is not None)
