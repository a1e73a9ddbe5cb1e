"""The Python client of the REST API. It knows the core's types and nothing else of ours."""
