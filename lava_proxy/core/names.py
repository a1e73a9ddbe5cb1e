"""Names that several rooms must agree on."""

PROVE_HOST = "prove.lava.invalid"
"""The host that exists nowhere: the proxy itself answers for it, so an answer proves that the call was intercepted."""
