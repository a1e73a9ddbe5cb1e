"""Providers: one TOML file each, the loader that checks them, and the index that recognises a request.

index = load_providers(home / "providers.d")
index.is_ai_host("api.openai.com")
index.recognise(host="api.openai.com", port=443, method="POST", path="/v1/chat/completions")
"""

from lava_proxy.providers.index import ProviderIndex
from lava_proxy.providers.loader import check_files, load_providers
from lava_proxy.providers.model import (
    Action,
    AuthSlot,
    Endpoint,
    Match,
    Provider,
    Quantity,
    ReportedCost,
    Settle,
    StreamRule,
    StreamUsage,
)
from lava_proxy.providers.vocabulary import DIALECTS, UNITS

__all__ = [
    "DIALECTS",
    "UNITS",
    "Action",
    "AuthSlot",
    "Endpoint",
    "Match",
    "Provider",
    "ProviderIndex",
    "Quantity",
    "ReportedCost",
    "Settle",
    "StreamRule",
    "StreamUsage",
    "check_files",
    "load_providers",
]
