"""What holds for every test: Hypothesis never judges by the clock, a loaded machine is no failure."""

from hypothesis import HealthCheck, settings

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
