"""Loads the packaged providers, then the operator's, whose keys take the place of the packaged ones.

Reading hundreds of files costs a third of a second, so what they come to is packaged beside them (``catalogue.json``,
written by ``make catalogue``) with the hash of their bytes. It is believed only while that hash is theirs: whoever edits
a file sees the change at once, and a test tells them to write the catalogue again.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from lava_proxy.core.addresses import is_loopback
from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers.compiled import decode, fingerprint
from lava_proxy.providers.hosts import parse_host
from lava_proxy.providers.index import ProviderIndex
from lava_proxy.providers.model import PACKAGED, Provider

PACKAGED_FOLDER = Path(__file__).parent
TEMPLATES = PACKAGED_FOLDER / "_templates"
CATALOGUE = PACKAGED_FOLDER / "catalogue.json"


def load_providers(
    operator_folder: Path | None = None, *, readable: Collection[str] | None = None, with_local: bool = True
) -> ProviderIndex:
    """Every enabled provider: the packaged files, then ``*.toml`` of ``operator_folder`` (none if it does not exist).

    A file of the operator's with a packaged provider's id replaces that one's keys, each as a whole. ``readable`` are
    the wire formats that have a reader; endpoints of others are recognised as unknown ones (``None``: all are read).
    ``with_local=False`` leaves out the hosts on the caller's own machine that are packaged: where others can reach the
    proxy, ``localhost`` would be the proxy's machine.

    Raises:
        InvalidProviderFile: a file cannot be read, has an unknown or wrong key, or claims what another one owns.
    """
    own_files = toml_files(operator_folder) if operator_folder is not None else []
    packaged = _compiled_providers()
    providers = _with_own(packaged, own_files) if packaged is None or own_files else packaged
    if not with_local:
        providers = _without_local(providers)
    return ProviderIndex(providers, readable=readable)


def check_files(files: Sequence[Path], *, readable: Collection[str] | None = None) -> ProviderIndex:
    """The packaged providers with these files over them, in this order; every file that is wrong by itself is told.

    Raises:
        InvalidProviderFile: with ``details`` of the first that is wrong, and all of them in its message.
    """
    from lava_proxy.providers.reading import read_source

    faults: list[InvalidProviderFile] = []
    for file in files:
        try:
            read_source(file, str(file))
        except InvalidProviderFile as fault:
            faults.append(fault)
    if len(faults) > 1:
        message = "\n".join(fault.message for fault in faults)
        raise InvalidProviderFile(message, hint=faults[0].hint, **faults[0].details)
    if faults:
        raise faults[0]
    return ProviderIndex(_with_own(_compiled_providers(), list(files)), readable=readable)


def packaged_providers() -> list[Provider]:
    """What the packaged files come to, read anew."""
    return _with_own(None, [])


def packaged_files() -> list[Path]:
    """All that ``catalogue.json`` is made from."""
    return [*toml_files(PACKAGED_FOLDER), *toml_files(TEMPLATES)]


def toml_files(folder: Path) -> list[Path]:
    """In the order of their names; none where there is no such folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in names]


def _without_local(providers: Sequence[Provider]) -> list[Provider]:
    """Without the hosts on this machine that packaged files name, and without providers that have no other."""
    kept: list[Provider] = []
    for provider in providers:
        hosts = tuple(host for host in provider.hosts if not _is_local(host))
        if provider.origin != PACKAGED or len(hosts) == len(provider.hosts):
            kept.append(provider)
        elif hosts:
            kept.append(replace(provider, hosts=hosts))
    return kept


def _is_local(host: str) -> bool:
    name = parse_host(host).text
    return is_loopback(name) or name == "0.0.0.0"  # noqa: S104 - nobody listens there: it is recognised


def _compiled_providers() -> list[Provider] | None:
    """From the catalogue, if it is there and of these files."""
    try:
        content = CATALOGUE.read_bytes()
    except OSError:
        return None
    return decode(content, of=fingerprint(packaged_files()))


def _with_own(packaged: list[Provider] | None, own_files: list[Path]) -> list[Provider]:
    """Packaged providers with the operator's files over them; only what those touch is read anew.

    A template of the operator's with a packaged one's name takes its place for everybody, so then all is read anew.
    """
    from lava_proxy.providers.reading import finished, overlaid, read_source

    templates = {path.stem: read_source(path, PACKAGED) for path in toml_files(TEMPLATES)}
    own = [(path.stem, read_source(path, str(path))) for path in own_files]
    own_templates = {stem: source for stem, source in own if source.file.template}
    own_providers = [source for _, source in own if not source.file.template]
    touched = None if packaged is None or own_templates.keys() & templates else {each.file.id for each in own_providers}
    templates |= own_templates
    files = [path for path in toml_files(PACKAGED_FOLDER) if touched is None or path.stem in touched]
    sources = {source.file.id: source for source in (read_source(path, PACKAGED) for path in files)}
    for source in own_providers:
        sources[source.file.id] = overlaid(sources.get(source.file.id), source)
    kept = [] if packaged is None or touched is None else [each for each in packaged if each.id not in touched]
    return kept + [finished(source, templates) for source in sources.values() if source.file.enabled]
