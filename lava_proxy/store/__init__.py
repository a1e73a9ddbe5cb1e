"""The ledger's backends, behind `core.ports`."""
