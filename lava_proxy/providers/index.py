"""Finds the provider and the endpoint of a request."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote
from urllib.parse import parse_qs

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import InvalidProviderFile
from lava_proxy.providers.hosts import HostIndex, HostPattern, parse_host
from lava_proxy.providers.model import PACKAGED, Action, Endpoint, Match, Provider
from lava_proxy.providers.paths import Spelling, parse_path, spell

_REMEMBERED_MAX = 4096
"""How many different requests (by host, port, method, path) are kept in mind: strangers choose them, so it is bounded."""
_PATH_REMEMBERED_MAX = 256
_AS_GET = {"HEAD": "GET", "WS": "GET"}
"""A question for the head alone, and in recordings a WebSocket, which is opened with GET."""
_DEARNESS = {Action.BLOCK: 3, Action.METER: 2, Action.FLAG: 1, Action.FREE: 0}


class _Route(Struct, frozen=True, kw_only=True):
    endpoint: Endpoint
    path: re.Pattern[str]
    rank: tuple[int, bool, int]
    """The closest description goes first: longer bases, then those that do not take any rest, then those with fewer variables."""


class _Routes(Struct, frozen=True, kw_only=True):
    """What a provider describes, by method, and the bases that it claims."""

    by_method: dict[str, tuple[_Route, ...]]
    bases: tuple[re.Pattern[str], ...]


class ProviderIndex:
    """All providers. Built once, then only read: safe for any thread."""

    def __init__(self, providers: Iterable[Provider], *, readable: Collection[str] | None = None) -> None:
        """``readable``: see ``load_providers``.

        Raises:
            InvalidProviderFile: two providers claim the same path of the same host.
        """
        self._readable = None if readable is None else frozenset(readable)
        self.providers: tuple[Provider, ...] = tuple(sorted(providers, key=lambda provider: provider.id))
        owned = [(parse_host(text), provider) for provider in self.providers for text in provider.hosts]
        _refuse_shared_paths(owned)
        self._by_id = _by_id(self.providers)
        self._hosts: HostIndex[Provider] = HostIndex(owned)
        self._routes: dict[str, _Routes] = {}
        self._regions = {provider.id: _regions(provider) for provider in self.providers if provider.regions}
        self._remembered = lru_cache(maxsize=_REMEMBERED_MAX)(self._recognise)

    def get(self, provider_id: str) -> Provider | None:
        """The provider with this id or alias."""
        return self._by_id.get(provider_id)

    def is_ai_host(self, host: str, port: int | None = None) -> bool:
        """Does any provider answer at ``host``? ``port`` ``None``: at whatever port."""
        return bool(self._hosts.owners(host, port))

    def is_own_host(self, host: str, port: int | None = None) -> bool:
        """Does a provider answer there that the operator has described, or changed, in a file of his own?"""
        return any(owner.origin != PACKAGED for owner in self._hosts.owners(host, port))

    def owners(self, host: str, port: int | None = None) -> tuple[Provider, ...]:
        """Every provider that answers at ``host``: several where they share it by paths."""
        return self._hosts.owners(host, port)

    def recognise(self, *, host: str, port: int, method: str, path: str) -> Match | None:
        """What a request is. ``host`` and ``port`` are where its bytes go; ``path`` is the target, with or without query.

        ``None``: the host is nobody's, or it serves others too and the path is not described.
        """
        bare, _, query = path.partition("?")
        find = self._remembered if len(bare) <= _PATH_REMEMBERED_MAX else self._recognise
        match = find(host, port, method.upper(), bare)
        if match is None or not match.injects_usage or _may_inject(match, query):
            return match
        return replace(match, injects_usage=False)

    def _recognise(self, host: str, port: int, method: str, path: str) -> Match | None:
        owners = self._hosts.owners(host, port)
        if not owners:
            return None
        spelling = spell(path)
        found = [match for owner in owners for match in self._matches(owner, host, method, spelling)]
        if found:
            return max(found, key=lambda match: _DEARNESS[match.action])
        keeper = self._keeper(owners, spelling)
        if keeper is None:
            return None
        match = self._match(keeper, host, None, {})
        return replace(match, action=Action.FLAG) if spelling.is_odd and match.action is Action.FREE else match

    def _matches(self, owner: Provider, host: str, method: str, spelling: Spelling) -> list[Match]:
        matches: list[Match] = []
        for reading in spelling.readings:
            for route in self._routes_of(owner).by_method.get(_AS_GET.get(method, method), ()):
                found = route.path.fullmatch(reading)
                if found is None:
                    continue
                if not (spelling.is_odd and route.endpoint.action is Action.FREE):
                    variables = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
                    matches.append(self._match(owner, host, route.endpoint, variables))
                break
        return matches

    def _keeper(self, owners: tuple[Provider, ...], spelling: Spelling) -> Provider | None:
        """Whose policy holds for a path that nobody described: who claims its base, else who owns the whole host."""
        for owner in sorted(owners, key=lambda owner: owner.owns_host):
            bases = self._routes_of(owner).bases
            claimed = (base.fullmatch(reading) for base in bases for reading in spelling.readings)
            if owner.owns_host or any(claimed):
                return owner
        return None

    def _routes_of(self, provider: Provider) -> _Routes:
        """Compiled when first needed: most proxies see a few of the providers. Twice at once does no harm."""
        routes = self._routes.get(provider.id)
        if routes is None:
            routes = self._routes[provider.id] = _compiled(provider)
        return routes

    def _can_read(self, endpoint: Endpoint) -> bool:
        """Whether what is metered there can be read; what is free need not be."""
        return endpoint.action is Action.FREE or self._readable is None or endpoint.dialect in self._readable

    def _match(self, provider: Provider, host: str, endpoint: Endpoint | None, variables: dict[str, str]) -> Match:
        regions = self._regions[provider.id].owners(host, None) if provider.regions else ()
        if endpoint is not None and not self._can_read(endpoint):
            return Match(
                provider=provider,
                endpoint=None,
                action=Action.BLOCK if provider.unmatched is Action.BLOCK else Action.FLAG,
                variables=variables,
                region=regions[0] if regions else None,
            )
        return Match(
            provider=provider,
            endpoint=endpoint,
            action=provider.unmatched if endpoint is None else endpoint.action,
            variables=variables,
            injects_usage=endpoint is not None and bool(endpoint.stream.inject),
            region=regions[0] if regions else None,
        )


def _by_id(providers: tuple[Provider, ...]) -> dict[str, Provider]:
    """By id and by alias; an id goes before another's alias."""
    found = {alias: provider for provider in providers for alias in provider.aliases}
    return found | {provider.id: provider for provider in providers}


def _regions(provider: Provider) -> HostIndex[str]:
    return HostIndex((parse_host(text), region) for text, region in provider.regions.items())


def _compiled(provider: Provider) -> _Routes:
    """The closest first, so that ``/openai/v1`` is asked before ``/openai``; of equals, in the order of the file."""
    routes: dict[str, list[_Route]] = {}
    for endpoint in provider.endpoints:
        for base in endpoint.bases:
            path = parse_path(base + endpoint.path).compiled()
            routes.setdefault(endpoint.method, []).append(
                _Route(endpoint=endpoint, path=path, rank=_rank(base, endpoint.path))
            )
    by_method = {method: tuple(sorted(made, key=lambda route: route.rank)) for method, made in routes.items()}
    bases = tuple(parse_path(base + "/**").compiled() for base in provider.base_paths)
    return _Routes(by_method=by_method, bases=bases)


def _rank(base: str, path: str) -> tuple[int, bool, int]:
    return -len(base), "**" in path, path.count("{") + path.count("*")


def _may_inject(match: Match, query: str) -> bool:
    """Whether the version of the API that the query names knows the option; no version means the newest."""
    since = match.endpoint.stream.inject_since if match.endpoint else None
    values = parse_qs(query).get(since[0]) if since else None
    return since is None or not values or values[-1] >= since[1]


def _refuse_shared_paths(owned: Sequence[tuple[HostPattern, Provider]]) -> None:
    """No path of a host may be claimed twice; nor may two providers own the same host as a whole."""
    claims: dict[tuple[str, int | None, str], Provider] = {}
    for pattern, provider in owned:
        whole = ("(any other path)",) if provider.owns_host else ()
        for base in (*provider.base_paths, *whole):
            other = claims.setdefault((pattern.text, pattern.port, base), provider)
            if other is not provider:
                raise InvalidProviderFile(
                    f"{provider.id}: hosts: {pattern.text} with {base or '/'} already belongs to {other.id}",
                    hint=f"set enabled = false in a file with id = {other.id!r}, or owns_host = false and other base_paths",
                    file=provider.origin,
                    field="hosts",
                )
