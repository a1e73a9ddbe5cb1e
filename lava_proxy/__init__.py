"""Lava Proxy: meters, gates and bills AI traffic."""

__version__ = "0.1.0"
