"""Measurements, as commands: `python -m benchmarks writes|failover|startup|image`. Never run as timed tests."""
