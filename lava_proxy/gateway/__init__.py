"""The edge for clients that change their base URL: /v1/forward and /{provider}/… on the same port."""
