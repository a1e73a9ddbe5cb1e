"""Providers as frozen values: what a TOML file says, checked and with its templates filled in.

Thousands of them live as long as the process and none can hold itself: the garbage collector need not look (``gc=False``).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct, field


PACKAGED = "packaged"
"""The origin of what comes with the program; any other is a file of the operator's."""


class Action(StrEnum):
    """What is to happen with a request."""

    METER = "meter"
    """Identify, hold, meter, charge."""
    FREE = "free"
    """The provider does not bill it: authenticate, forward, no hold."""
    FLAG = "flag"
    """Nobody described it: policy decides, and it never passes silently."""
    BLOCK = "block"


class StreamUsage(StrEnum):
    """Whether a streamed answer carries its usage."""

    ALWAYS = "always"
    ON_REQUEST = "on_request"
    NEVER = "never"


class StreamRule(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How a stream comes to report its usage."""

    usage: StreamUsage
    inject: str = ""
    """The option to add to the request, ``stream_options.include_usage``; empty: leave the request alone."""
    inject_since: tuple[str, str] | None = None
    """(query parameter, least value): older versions of the API refuse the option, so it is added from here on.
    A request without the parameter speaks to the newest version."""


class Settle(StrEnum):
    """When a call's usage is known, and so when it is charged."""

    IMMEDIATE = "immediate"
    ON_POLL = "on_poll"
    """When an answer to a later question says that the work is done."""
    ON_DOWNLOAD = "on_download"
    """When the results are fetched."""


NO_STREAM = StreamRule(usage=StreamUsage.NEVER)
USUAL_MODEL = ("response:model", "request:model")


class ReportedCost(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where the provider says what a call cost."""

    source: str
    """``response:usage.cost``, ``header:x-cost``."""
    per_usd: int = 1
    """How many of the reported units are a dollar: 1, 100 for cents."""


class Quantity(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where a billed quantity is told."""

    unit: str
    source: str
    """As in ``ReportedCost``, also ``request:text``: the length of what was sent."""
    is_fallback: bool = False
    """Used only where no other tells the unit."""


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One kind of request of a provider."""

    method: str
    bases: tuple[str, ...]
    path: str
    """Below a base: ``{name}`` is one segment or a part of one, ``*`` any part of a segment, ``**`` any rest."""
    action: Action = Action.METER
    op: str
    """chat, completions, responses, embeddings, messages …: what the dialect is told; ``free`` where nothing is metered."""
    dialect: str
    """The wire format: of the exchange, or of our own error where nothing is metered."""
    stream: StreamRule = NO_STREAM
    model: tuple[str, ...] = USUAL_MODEL
    """Where the model's name is found, first hit wins: request:FIELD, response:FIELD, path:NAME, map:NAME, const:NAME.
    The fields of request and answer are read by the dialect, which gives one name for each."""
    settle: Settle = Settle.IMMEDIATE
    settles: str = ""
    """The operation whose results this one brings: an answer here may end a call that was made before."""
    idempotency: tuple[str, ...] = ()
    """Where the id stands that two sightings of the same work share, so that it is charged once; first hit wins."""
    reported_cost: ReportedCost | None = None
    quantities: tuple[Quantity, ...] = ()
    units: tuple[str, ...] = ()
    """What it is billed by, in the words of ``vocabulary.UNITS``."""


class AuthSlot(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where this provider takes its key."""

    place: str
    """header or query."""
    name: str
    scheme: str = ""
    """What stands before the key: ``Bearer``."""


class Provider(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who answers, where, and how its bytes are written."""

    id: str
    name: str
    category: str
    hosts: tuple[str, ...]
    """As written: exact, ``*.suffix`` or ``re:^…$``, each with ``:port`` where only that port is meant."""
    base_paths: tuple[str, ...]
    owns_host: bool
    """False where the host serves others too: then only described paths are this provider's."""
    dialect: str
    """The usual wire format: an error of ours is written in it where no endpoint was recognised."""
    auth: tuple[AuthSlot, ...]
    endpoints: tuple[Endpoint, ...]
    unmatched: Action
    """For requests that no endpoint describes: free, flag or block."""
    prices: tuple[str, ...]
    """Its names in the price book, in the order to ask: ``lava:<id>`` (the operator's overrides and our own rows), then
    other books', such as ``genai-prices:openai``."""
    deployments: Mapping[str, str] = field(default_factory=dict)
    """The operator's table: deployment name to model, for ``map:deployment``."""
    regions: Mapping[str, str] = field(default_factory=dict)
    """Host pattern to region, where a region may have its own price."""
    docs: str
    pricing: str
    checked: str
    """The day when somebody last compared this file with the provider's documentation (ISO)."""
    evidence: str
    """verified: read from recorded exchanges, or from the provider's own SDK or documentation; community: second hand."""
    subscription: tuple[str, ...] = ()
    """How the keys begin by which calls go by a subscription and cost no API money; ``*``: all calls do."""
    sources: tuple[str, ...] = ()
    """What the file was made from."""
    aliases: tuple[str, ...] = ()
    """Other ids by which people know it."""
    signed: str = ""
    """``sigv4``: requests are signed and must not be changed."""
    notes: str = ""
    origin: str = "packaged"
    """``packaged``, or the operator's file."""

    @property
    def units(self) -> tuple[str, ...]:
        """Everything that it bills by."""
        return tuple(dict.fromkeys(unit for endpoint in self.endpoints for unit in endpoint.units))

    def is_by_subscription(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether a call with these headers (names in lower case) goes by a login that costs no API money.

        Every key that it shows must be such a one: nobody makes a call free by showing a login beside an API key.
        """
        if not self.subscription:
            return False
        if "*" in self.subscription:
            return True
        names = {slot.name for slot in self.auth}
        keys = [value.rpartition(" ")[2] for name, value in headers if name in names]
        return bool(keys) and all(key.startswith(self.subscription) for key in keys)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The wire formats of what is metered."""
        return tuple(dict.fromkeys(e.dialect for e in self.endpoints if e.action is Action.METER))


class Match(Struct, frozen=True, kw_only=True):
    """What a request to an AI host is."""

    provider: Provider
    endpoint: Endpoint | None
    """``None``: nobody described it; then ``action`` is the provider's ``unmatched``."""
    action: Action
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the path's variables stand for, percent-decoded."""
    injects_usage: bool = False
    """Must we add the option that makes a stream report its usage, where the caller did not?"""
    region: str | None = None
    """The region whose prices hold, where the host names one."""

    @property
    def path_model(self) -> str | None:
        """The model that the URL names, or the deployment's model where the operator said which that is."""
        names = self.models(requested=None, answered=None)
        return names[0] if names else None

    def models(self, *, requested: str | None, answered: str | None) -> tuple[str, ...]:
        """Every name that the model has in this exchange, the most telling first, without repetition.

        ``requested`` is the request body's own ``model``, ``answered`` the answer's (``None`` before it came).
        """
        sources = self.endpoint.model if self.endpoint is not None else ()
        names: list[str] = []
        for source in sources:
            name = self._named(source, requested, answered)
            if name and name not in names:
                names.append(name)
        return tuple(names)

    def _named(self, source: str, requested: str | None, answered: str | None) -> str | None:
        kind, _, name = source.partition(":")
        if kind == "request":
            return requested
        if kind == "response":
            return answered
        if kind == "path":
            return self.variables.get(name)
        if kind == "map":
            return self.provider.deployments.get(self.variables.get(name) or requested or "")
        return name
