"""What the shell may complete inside options: words that are known without asking any cluster."""

from collections.abc import Iterator


def topic_config(incomplete: str) -> Iterator[tuple[str, str]]:
    """`ret` -> `retention.ms=`, with the first sentence of what it means."""
    from quorate.metadata.config_keys import (
        TOPIC_KEYS,  # reads the definitions: not before somebody presses Tab
    )

    for name, key in TOPIC_KEYS.items():
        if name.startswith(incomplete):
            yield f"{name}=", _first_sentence(key.documentation)


def topic_config_key(incomplete: str) -> Iterator[tuple[str, str]]:
    """As `topic_config`, where only the key is wanted."""
    for text, meaning in topic_config(incomplete):
        yield text.removesuffix("="), meaning


def entity_type(incomplete: str) -> list[str]:
    return [one for one in ("topics", "brokers", "client-metrics", "groups") if one.startswith(incomplete)]


def record_type(incomplete: str) -> list[str]:
    """In small letters where somebody began so: shells compare letter by letter."""
    from quorate.admin.record_text import type_names

    names = type_names()
    if incomplete.islower():
        names = [name.lower() for name in names]
    return [name for name in names if name.startswith(incomplete)]


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].partition("\n")[0]
