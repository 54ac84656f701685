"""The small languages inside options, as Kafka's tools have them: k=v pairs, replica assignments."""

from collections.abc import Iterable, Iterator

from quorate.admin.errors import WrongUsage


def one_pair_each(option: str, texts: Iterable[str]) -> dict[str, str]:
    """`--config k=v --config k=v`: the value is all that follows the first "=".

    Raises:
        WrongUsage: no "=", an empty key, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        _add(pairs, option, text, key.strip() if equals else "", value.strip())
    return pairs


def many_pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """`--add-config k=v,k=[v1,v2]`: commas separate pairs, except between brackets.

    Raises:
        WrongUsage: see `one_pair_each`.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        for part in split_outside_brackets(text):
            key, equals, value = part.partition("=")
            value = value.strip()
            if value.startswith("[") and value.endswith("]"):
                value = value[1:-1]
            _add(pairs, option, part, key.strip() if equals else "", value)
    return pairs


def split_outside_brackets(text: str) -> Iterator[str]:
    """The parts between commas; those inside [ ] do not count."""
    depth = start = 0
    for position, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def names(texts: Iterable[str]) -> list[str]:
    """`a,b` and repeated options alike; each name once, in order."""
    found = (name.strip() for text in texts for name in text.split(","))
    return list(dict.fromkeys(name for name in found if name))


def replica_assignment(option: str, text: str | None) -> list[tuple[int, ...]]:
    """`1:2,2:3`: the brokers of partition 0, of partition 1, …; the first of each is its preferred leader.

    Raises:
        WrongUsage: something there is no broker id, or a broker stands twice in one partition.
    """
    partitions = []
    for part in [] if text is None else text.split(","):
        ids = part.split(":")
        if not all(id.strip().isdecimal() for id in ids):
            raise WrongUsage(
                f"{option} cannot be used.",
                why=f"{part.strip()!r} is no list of broker ids",
                remedy="write the brokers of each partition with colons, partitions with commas: 101:102,102:101",
            )
        brokers = tuple(map(int, ids))
        if len(set(brokers)) < len(brokers):
            raise WrongUsage(
                f"{option} cannot be used.",
                why=f"{part.strip()} names a broker twice",
                remedy="a broker holds at most one replica of a partition",
            )
        partitions.append(brokers)
    return partitions


def _add(pairs: dict[str, str], option: str, text: str, key: str, value: str) -> None:
    if not key:
        raise WrongUsage(f"{option} cannot be used.", why=f"{text!r} is not of the form key=value")
    if key in pairs:
        raise WrongUsage(f"{option} cannot be used.", why=f"{key} is given twice")
    pairs[key] = value
