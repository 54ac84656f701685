"""Kafka's protocol: framing, headers, one table of requests, and values that do not depend on a version (pure)."""
