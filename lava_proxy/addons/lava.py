"""Lava Proxy under stock mitmproxy: ``mitmdump -s addons/lava.py``.

It meters, holds and refuses as `lava up` does, on the home that ``LAVA_HOME`` names (else the platform's own), with that
home's settings. Where to listen, and which certificates to show, is mitmproxy's: its options say so, and options that
would break a promise are refused at the start.
"""

from lava_proxy.addons.script import Lava

addons = [Lava()]
