"""Readers of recorded traffic: JSON lines, HAR files, mitmproxy's flow dumps; each also compressed with gzip.

A reader gives exchanges one by one and keeps none: memory does not grow with the file. What it cannot read is given as
such, with its number, and the rest goes on.
"""

from lava_proxy.imports.opening import FORMATS, read_recording

__all__ = ["FORMATS", "read_recording"]
