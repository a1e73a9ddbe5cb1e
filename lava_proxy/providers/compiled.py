"""The catalogue as one file: what hundreds of TOML files come to, read in milliseconds."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.providers.model import Endpoint, Provider


class _Listed(Struct, frozen=True, kw_only=True, gc=False):
    """A provider whose endpoints are numbers: hundreds of providers share theirs."""

    provider: Provider
    endpoints: tuple[int, ...]


class _Catalogue(Struct, frozen=True, kw_only=True):
    sha256: str
    endpoints: tuple[Endpoint, ...]
    providers: tuple[_Listed, ...]


_DECODER = msgspec.json.Decoder(_Catalogue)


def fingerprint(files: Sequence[Path]) -> str:
    """The hash of these files: their names, in this order, and their bytes."""
    seen = hashlib.sha256()
    for file in files:
        with open(file, "rb", buffering=0) as opened:
            content = opened.read()
        seen.update(b"%s %d\n%s" % (file.name.encode(), len(content), content))
    return seen.hexdigest()


def encode(providers: Sequence[Provider], *, of: str) -> bytes:
    """The catalogue of ``providers``, which were read from files with the fingerprint ``of``."""
    numbers: dict[Endpoint, int] = {}
    listed = [
        _Listed(
            provider=replace(provider, endpoints=()),
            endpoints=tuple(numbers.setdefault(endpoint, len(numbers)) for endpoint in provider.endpoints),
        )
        for provider in sorted(providers, key=lambda provider: provider.id)
    ]
    document = _Catalogue(sha256=of, endpoints=tuple(numbers), providers=tuple(listed))
    return msgspec.json.encode(document).replace(b'},{"provider":', b'},\n{"provider":') + b"\n"


def decode(content: bytes, *, of: str) -> list[Provider] | None:
    """The providers of a catalogue; ``None`` where it is not that of the files with the fingerprint ``of``."""
    try:
        found = _DECODER.decode(content)
    except msgspec.MsgspecError:
        return None
    if found.sha256 != of:
        return None
    return [
        replace(each.provider, endpoints=tuple(found.endpoints[number] for number in each.endpoints))
        for each in found.providers
    ]
