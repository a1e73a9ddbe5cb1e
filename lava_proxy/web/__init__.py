"""The REST API, the dashboard and the customer's portal."""
