"""The promises of the house: where things stand, which way imports go, and that everything is written down."""
