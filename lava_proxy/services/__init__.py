"""The use cases, one file per noun. Rules are in core, rows in the store; here they meet through ``core.ports``."""
