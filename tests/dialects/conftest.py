"""A busy machine must not fail a property: examples have no deadline here."""

from hypothesis import HealthCheck, settings

settings.register_profile("dialects", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dialects")
