"""Readers of recorded traffic: HAR files, mitmproxy dumps, JSON lines."""
