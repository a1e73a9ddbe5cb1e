"""Our figures, measured beside stock mitmdump in one run: `make bench`; the method is in docs/bench.md."""
