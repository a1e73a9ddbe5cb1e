"""What `lava run`, `lava env` and `lava doctor` share: a run key, the bundles, and the variables made of both."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lava_proxy.cli.environment import Access, TrustFiles, build_variables, goes_around, merge_no_proxy
from lava_proxy.cli.trust import Bundles, write_atomically, write_bundles
from lava_proxy.core.identity import NO_USER
from lava_proxy.core.money import parse_amount

if TYPE_CHECKING:
    from lava_proxy.services.runs import RunTerms, StartedRun
    from lava_proxy.wiring import House

MASKED_KEY = "lava_rk_xxxxxxxxxxxx"
_JAVA_PASSWORD = "changeit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a program is to be started with, and what its user should know."""

    access: Access
    variables: Mapping[str, str]
    warnings: tuple[str, ...]


def run_terms(*, customer: str | None, meter: str | None, max_cost: str | None, max_charge: str | None) -> "RunTerms":
    """What the options ask for.

    Raises:
        InvalidAmount
    """
    from lava_proxy.services.runs import RunTerms

    return RunTerms(
        customer=customer,
        meter=meter,
        cost_nanos_max=parse_amount(max_cost, field="max_cost") if max_cost is not None else None,
        charge_nanos_max=parse_amount(max_charge, field="max_charge") if max_charge is not None else None,
    )


def access_of(started: "StartedRun | None", address: str) -> Access:
    """The run's way to the proxy at ``address``; without a run, what it would look like."""
    if started is None:
        return Access(address=address, key=MASKED_KEY)
    run = started.run
    return Access(address=address, user=run.customer_id or NO_USER, key=started.text, run_id=run.run_id)


def surroundings(house: "House", access: Access, present: Mapping[str, str]) -> Surroundings:
    """Write the bundles and build the variables.

    Raises:
        OSError: the home cannot be written.
    """
    from lava_proxy.wiring import make_authority

    folder = house.home.ca_folder / "bundles"
    bundles = write_bundles(folder, present, make_authority(house.home).read_text())
    trust = TrustFiles(
        variables=bundles.variables, java_store=_java_store(bundles, present), java_store_password=_JAVA_PASSWORD
    )
    variables = build_variables(present, access, trust)
    return Surroundings(
        access=access,
        variables=variables,
        warnings=(*bundles.warnings, *_escapes(house, present), *_chained(present, access)),
    )


def _java_store(bundles: Bundles, present: Mapping[str, str]) -> Path | None:
    """The same trust in Java's form, where there is a Java to use it."""
    if not present.get("JAVA_HOME") and shutil.which("java", path=present.get("PATH")) is None:
        return None
    file = bundles.system.with_suffix(".p12")
    if not file.exists():
        from lava_proxy import secrets

        write_atomically(file, secrets.java_trust_store(bundles.system.read_bytes(), password=_JAVA_PASSWORD))
    return file


def _escapes(house: "House", present: Mapping[str, str]) -> list[str]:
    """AI hosts that the user's own NO_PROXY sends past the proxy."""
    if not (present.get("NO_PROXY") or present.get("no_proxy")):
        return []
    merged = merge_no_proxy(present)
    hosts = {
        host for provider in house.providers.providers for host in provider.hosts if host[0] != "*" and ":" not in host
    }
    escaped = sorted(host for host in hosts if goes_around(merged, host))
    return [f"NO_PROXY sends these past the proxy, unmetered: {', '.join(escaped)}"] if escaped else []


def _chained(present: Mapping[str, str], access: Access) -> list[str]:
    """A proxy that was there before is not used by ours."""
    before = present.get("HTTPS_PROXY") or present.get("https_proxy")
    if not before or access.address.partition("://")[2] in before:
        return []
    return ["HTTPS_PROXY named another proxy; Lava's takes its place and connects to providers directly"]
