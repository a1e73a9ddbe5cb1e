"""The stand-in AI provider, and the scenario that `lava demo` shows.

The stand-in answers like OpenAI, Anthropic and Google do, with figures that are a function of the request, so that
whoever calls it can compute beforehand what a call must cost. The scenario runs as ``python -m lava_proxy.demo`` and
tells what happens as one JSON document a line; the command line draws it.
"""
