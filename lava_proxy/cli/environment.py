"""The variables that send a program's AI calls through the proxy: one table for `lava run` and `lava env`.

What each client obeys was tried out and is told in ``docs/clients.md``. Two kinds of trust variables must not be mixed
up: most *replace* the program's trust store, so they name a bundle of everything that was trusted before and our
authority; a few *add* to it. Whatever the user had set is kept in the merged value.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from lava_proxy.core.identity import NO_USER

PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "GRPC_PROXY", "grpc_proxy")
"""Both spellings: curl and others ignore the upper-case HTTP_PROXY, some programs the lower-case ones."""

NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")
NEVER_PROXIED = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")

REPLACING_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PERL_LWP_SSL_CA_FILE",
)
ADDING_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
REPLACING_IF_SET_VARIABLES = ("NIX_SSL_CERT_FILE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "HTTPLIB2_CA_CERTS")
"""Of programs that fall back to a variable of the table above where these are not set."""

SECRETS_OF_THE_MERCHANT = ("LAVA_SECRET_KEY",)
"""Never handed to a child: it gets the run's own key."""

NODE_PRELOAD = Path(__file__).with_name("node_preload.cjs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a program reaches the proxy and who it is there."""

    address: str
    """The port as a URL, without credentials: ``http://127.0.0.1:8080``."""
    user: str = NO_USER
    """A customer; ``-`` names none."""
    key: str = ""
    run_id: str = ""

    @property
    def proxy_url(self) -> str:
        """With the credentials, percent-encoded."""
        scheme, _, place = self.address.partition("://")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.key, safe='')}@{place}"

    @property
    def host(self) -> str:
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFiles:
    """Which file each trust variable is to name, and the same trust for Java."""

    variables: Mapping[str, Path]
    java_store: Path | None = None
    java_store_password: str = ""


def build_variables(present: Mapping[str, str], access: Access, trust: TrustFiles) -> dict[str, str]:
    """What to set, given the variables that are ``present``."""
    no_proxy = merge_no_proxy(present)
    variables = dict.fromkeys(PROXY_VARIABLES, access.proxy_url)
    variables |= dict.fromkeys(NO_PROXY_VARIABLES, no_proxy)
    variables |= {name: str(file) for name, file in trust.variables.items()}
    variables |= {
        "NODE_USE_ENV_PROXY": "1",
        "NODE_OPTIONS": _node_options(present.get("NODE_OPTIONS", "")),
        "DENO_TLS_CA_STORE": present.get("DENO_TLS_CA_STORE", "mozilla,system"),
        "JAVA_TOOL_OPTIONS": _java_options(present.get("JAVA_TOOL_OPTIONS", ""), access, trust, no_proxy),
        "LAVA_PROXY_URL": access.proxy_url,
    }
    if access.run_id:
        variables["LAVA_RUN_ID"] = access.run_id
    return variables


def merge_no_proxy(present: Mapping[str, str]) -> str:
    """Ours, then the user's in both spellings, each entry once."""
    theirs = [entry.strip() for name in NO_PROXY_VARIABLES for entry in present.get(name, "").split(",")]
    return ",".join(dict.fromkeys([*NEVER_PROXIED, *filter(None, theirs)]))


def goes_around(no_proxy: str, host: str) -> bool:
    """Whether this list sends ``host`` past the proxy."""
    name = f".{host.lower()}"
    entries = (entry.strip().lower().partition(":")[0] for entry in no_proxy.split(","))
    return any(entry == "*" or name.endswith(f".{entry.lstrip('*').lstrip('.')}") for entry in entries if entry)


def child_environment(present: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Everything that a child of `lava run` gets."""
    kept = {name: value for name, value in present.items() if name not in SECRETS_OF_THE_MERCHANT}
    return {**kept, **variables}


def _node_options(theirs: str) -> str:
    quoted = '"{}"'.format(str(NODE_PRELOAD).replace("\\", "\\\\").replace('"', '\\"'))
    ours = f"--require {quoted}"
    return theirs if ours in theirs else f"{theirs} {ours}".strip()


def _java_options(theirs: str, access: Access, trust: TrustFiles, no_proxy: str) -> str:
    options = [
        f"-Dhttps.proxyHost={access.host}",
        f"-Dhttps.proxyPort={access.port}",
        f"-Dhttp.proxyHost={access.host}",
        f"-Dhttp.proxyPort={access.port}",
        f'"-Dhttp.nonProxyHosts={_java_exceptions(no_proxy)}"',
        "-Djdk.http.auth.tunneling.disabledSchemes=",
    ]
    if trust.java_store is not None:
        options += [
            f'"-Djavax.net.ssl.trustStore={trust.java_store}"',
            f"-Djavax.net.ssl.trustStorePassword={trust.java_store_password}",
            "-Djavax.net.ssl.trustStoreType=PKCS12",
        ]
    earlier = [option for option in theirs.split() if option not in options]
    return " ".join([*earlier, *options])


def _java_exceptions(no_proxy: str) -> str:
    """Java's spelling: bars between, and a star in place of a leading dot."""
    entries = [entry for entry in no_proxy.split(",") if entry]
    return "|".join(
        f"*{entry}" if entry.startswith(".") else f"[{entry}]" if ":" in entry else entry for entry in entries
    )


def present_variables() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)
