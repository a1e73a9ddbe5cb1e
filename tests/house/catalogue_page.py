"""Writes what is made from the provider files: `make catalogue`. Tests compare both, so that neither can be forgotten.

They are ``providers/catalogue.json``, which the program reads at its start, and the table of docs/providers.md.
"""

import sys

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers import Provider
from lava_proxy.providers.compiled import encode, fingerprint
from lava_proxy.providers.loader import CATALOGUE, packaged_files, packaged_providers
from tests.house.project import DOCS

PAGE = DOCS / "providers.md"
BEGIN = "<!-- written by `make catalogue` from the files in providers/ -->"
END = "<!-- end of the table -->"
HEAD = "| provider | hosts | wire formats | billed by | evidence |\n|---|---|---|---|---|"


def main() -> int:
    try:
        providers = packaged_providers()
    except InvalidProviderFile as error:
        print(f"{error.message}\nhint: {error.hint}", file=sys.stderr)
        return 2
    CATALOGUE.write_bytes(encode(providers, of=fingerprint(packaged_files())))
    PAGE.write_text(with_table(PAGE.read_text(), providers))
    return 0


def with_table(page: str, providers: list[Provider]) -> str:
    """The page with the table of these providers in the place that is marked for it."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table(providers)}\n\n{END}{after}"


def table(providers: list[Provider]) -> str:
    return "\n".join([HEAD, *(_row(provider) for provider in sorted(providers, key=lambda provider: provider.id))])


def _row(provider: Provider) -> str:
    hosts = ", ".join(f"`{_plain(host)}`" for host in provider.hosts)
    dialects = ", ".join(provider.dialects)
    units = ", ".join(unit.replace("_", " ") for unit in provider.units)
    return (
        f"| [{provider.name}]({provider.docs}) `{provider.id}` | {hosts} | {dialects} | {units} | {provider.evidence} |"
    )


def _plain(host: str) -> str:
    """An expression as people read it: ``*`` for a label or a part of one."""
    if not host.startswith("re:"):
        return host
    found = host.removeprefix("re:^").removesuffix("$").replace("[a-z0-9-]+", "*").replace("[a-z0-9.-]+", "*")
    return found.replace("\\.", ".").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
