"""Who answers: one TOML file per provider, and the loader that checks them."""
