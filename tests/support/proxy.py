"""The running proxy as a process of its own, led to a stand-in provider: what every end-to-end test starts from."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from lava_proxy.core.entities import GrantSource, Mode, RateType, RequestRecord, Tier, TierUnit
from lava_proxy.core.money import parse_amount
from lava_proxy.demo.provider import StandIn
from lava_proxy.providers import load_providers
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import KEEP, CustomerFields
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.presence import Presence, read_presence
from lava_proxy.settings import Home, load_settings
from lava_proxy.wiring import House, MadeHome, make_home
from tests.support.certificates import Authority

READY_SECONDS = 60.0
BY = By(actor="test")


def ai_hosts() -> list[str]:
    """Every packaged provider's host that is written out."""
    hosts = [host for provider in load_providers().providers for host in provider.hosts]
    return sorted({host for host in hosts if "*" not in host and ":" not in host})


def eventually[T](look: Callable[[], T | None], *, timeout_seconds: float = 10.0) -> T:
    """What ``look`` gives as soon as it gives something true; fails where it never does."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def new_home(folder: Path) -> MadeHome:
    """A home in test mode."""
    home = Home(folder)
    return make_home(home, load_settings(home), mode=Mode.TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A home as its operator sees it: short words for what tests do in most of their givens."""

    house: House
    key: str
    """The merchant's key."""

    def meter(
        self, slug: str, rate: str, *, unit: TierUnit = TierUnit.REQUESTS, kind: RateType = RateType.FIXED
    ) -> str:
        """A meter with one rate: dollars a unit, or percent of markup. Gives its slug."""
        tiers = (Tier(start=0, rate_nanos=parse_amount(rate)),)
        self.house.meters.create(MeterTerms(name=slug, slug=slug, rate_type=kind, tier_unit=unit, tiers=tiers), by=BY)
        return slug

    def customer(self, reference_id: str, *, credit: str | None = None, meter: str | None = None) -> str:
        """A customer, with credit where some is named. Gives the ``con_…`` id."""
        fields = CustomerFields(reference_id=reference_id, meter=meter if meter is not None else KEEP)
        made = self.house.customers.create(fields, by=BY).value
        if credit is not None:
            self.grant(reference_id, credit)
        return made.customer_id

    def grant(self, customer: str, amount: str) -> None:
        terms = GrantTerms(customer=customer, amount_nanos=parse_amount(amount), source=GrantSource.MANUAL)
        self.house.credits.grant(terms, by=BY)

    def available(self, customer: str) -> int:
        """Nanos that a new call may hold."""
        return self.house.credits.balance(customer).available_nanos

    def record(self, request_id: str) -> RequestRecord:
        """The record of a call, waited for."""
        return eventually(lambda: self.house.requests.get(request_id).record)

    def refusals(self, customer: str) -> dict[str, int]:
        """How often calls of a customer were refused, by code."""
        customer_id = self.house.customers.get(customer).customer_id
        return dict(self.house.ledger.books().refusals(customer_id=customer_id))


@contextlib.contextmanager
def open_shop(made: MadeHome) -> Iterator[Shop]:
    assert made.key_text is not None, "the home is new"
    with House(made.home, load_settings(made.home)) as house:
        yield Shop(house=house, key=made.key_text)


@dataclass(slots=True, kw_only=True)
class RunningProxy:
    """A proxy process. It ends with its ``with`` block, however it ended before."""

    home: Home
    process: subprocess.Popen[bytes]
    log_file: Path
    presence: Presence
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.presence.proxy_url

    @property
    def ca_file(self) -> Path:
        return Path(self.presence.ca_file)

    def url_for(self, user: str, key: str = "") -> str:
        """With these credentials."""
        scheme, _, place = self.url.partition("://")
        return f"{scheme}://{quote(user, safe='')}:{quote(key, safe='')}@{place}"

    def environment(self, user: str, key: str = "") -> dict[str, str]:
        """What leads an SDK in this process here: set it with ``monkeypatch.setenv``."""
        return {
            "HTTPS_PROXY": self.url_for(user, key),
            "HTTP_PROXY": self.url_for(user, key),
            "NO_PROXY": "localhost,127.0.0.1",
            "SSL_CERT_FILE": str(self.ca_file),
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
        }

    def client(self, user: str, key: str = "") -> httpx.Client:
        """A plain client; close it."""
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(proxy=self.url_for(user, key), verify=trust, trust_env=False, timeout=30)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def stop(self, *, timeout_seconds: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_seconds)


@contextlib.contextmanager
def running_proxy(
    home: Home,
    *,
    provider: StandIn | None = None,
    authority: Authority | None = None,
    settings: Mapping[str, str] | None = None,
    module: str = "lava_proxy.process",
) -> Iterator[RunningProxy]:
    """The proxy of ``home`` on a free port. ``provider`` stands in for every packaged host; ``settings`` are LAVA_* ones.

    ``module``: run in its place, and given the same settings.

    >>> settings = {"LAVA_ANONYMOUS": "refuse"}  # doctest: +SKIP
    """
    told = {"LAVA_PORT": "0", "LAVA_HOME": str(home.folder), **_led_to(provider, authority), **(settings or {})}
    name = told.get("LAVA_INSTANCE", "main")
    log_file = home.folder / f"{name}.test.log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LAVA_")}
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**kept, **told},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        presence = _await_ready(home, name, process, log_file)
        yield RunningProxy(home=home, process=process, log_file=log_file, presence=presence, settings=told)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _led_to(provider: StandIn | None, authority: Authority | None) -> dict[str, str]:
    if provider is None:
        return {}
    rules = [f"{host}:443:{provider.host}:{provider.port}" for host in ai_hosts()]
    told = {"LAVA_CONNECT_TO": ",".join(rules)}
    return told | ({"LAVA_UPSTREAM_CA": str(authority.certificate_file)} if authority is not None else {})


def _await_ready(home: Home, name: str, process: subprocess.Popen[bytes], log_file: Path) -> Presence:
    def look() -> Presence | None:
        assert process.poll() is None, f"the proxy ended: {log_file.read_text(errors='replace')[-3000:]}"
        presence = read_presence(home.run_folder, name)
        return presence if presence is not None and presence.pid == process.pid and _is_ready(presence) else None

    return eventually(look, timeout_seconds=READY_SECONDS)


def _is_ready(presence: Presence) -> bool:
    try:
        answer = httpx.get(f"{presence.proxy_url}/readyz", trust_env=False, timeout=5, verify=not presence.has_tls)
    except httpx.TransportError:
        return False
    return answer.status_code == 200
