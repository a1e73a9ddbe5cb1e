"""The mitmproxy edge: translates flows into the line of `services.exchange` and back."""
