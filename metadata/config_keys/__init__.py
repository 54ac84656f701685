"""Kafka's configuration definitions, held as data: types, defaults, ranges, synonyms, documentation."""
