"""Pure rules of money and metering: no I/O, clock, randomness, environment or logging."""
