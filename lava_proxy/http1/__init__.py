"""HTTP/1.1 of our own, for every edge: names and fields, answers, and what stands between a client and a provider."""
