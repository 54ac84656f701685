"""What values a key accepts beyond its type, as values themselves: ranges, choices, lists.

Each names its wrong in a sentence (`wrong(value)`, None: nothing wrong) and says what is allowed
(`allowed`). The sentences are Kafka's (ConfigDef), since operators search for them.
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

ConfigValue = bool | int | float | str | tuple[str, ...] | None

_REPLICA = re.compile(r"([0-9]+:[0-9]+)?")
_DURATION = re.compile(
    r"P(?=.)([0-9]+D)?(T(?=[0-9.])([0-9]+H)?([0-9]+M)?([0-9]+([.,][0-9]{0,9})?S)?)?", re.IGNORECASE
)


class Validator(Protocol):
    @property
    def allowed(self) -> str:
        """For people: "at least 1", "one of compact, delete"; empty when the type says it all."""
        ...

    def wrong(self, value: ConfigValue) -> str | None:
        """Why a parsed value is refused, or None."""
        ...


@attrs.frozen(kw_only=True)
class InRange:
    """A number between two bounds, both included; `extra` is one more value that means something special."""

    min: float | None = None
    max: float | None = None
    extra: int | None = None

    @property
    def allowed(self) -> str:
        bounds = []
        if self.min is not None:
            bounds.append(f"at least {self.min}")
        if self.max is not None:
            bounds.append(f"at most {self.max}")
        text = " and ".join(bounds)
        return text if self.extra is None else f"{text}, or {self.extra}"

    def wrong(self, value: ConfigValue) -> str | None:
        if value is None:
            return "Value must be non-null"
        if not isinstance(value, int | float) or value == self.extra:
            return None
        too_low = self.min is not None and value < self.min
        too_high = self.max is not None and value > self.max
        if (too_low or too_high) and self.extra is not None:
            return f"Value must be between {self.min} and {self.max} or equal to {self.extra}"
        if too_low:
            return f"Value must be at least {self.min}"
        return f"Value must be no more than {self.max}" if too_high else None


@attrs.frozen
class OneOf:
    """A fixed choice of words."""

    choices: tuple[str, ...]
    ignoring_case: bool = False

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.choices)

    def wrong(self, value: ConfigValue) -> str | None:
        word = value.upper() if self.ignoring_case and isinstance(value, str) else value
        if word in self.choices:
            return None
        how = " (case insensitive)" if self.ignoring_case else ""
        return f"String must be one of{how}: {', '.join(self.choices)}"


@attrs.frozen(kw_only=True)
class ListOf:
    """A list without empty members; `choices` empty: any words. Repeated ones count once (KIP-1161)."""

    choices: tuple[str, ...] = ()
    non_empty: bool = False
    non_null: bool = False

    @property
    def allowed(self) -> str:
        members = [f"any of {', '.join(self.choices)}"] if self.choices else []
        return ", ".join([*members, "not empty"] if self.non_empty else members)

    def wrong(self, value: ConfigValue) -> str | None:
        if value is None:
            return "Values must not be null" if self.non_null else None
        if not isinstance(value, tuple):
            return None
        if self.non_empty and not value:
            return "Value must not be an empty list"
        if "" in value:
            return "Values must not be empty"
        if self.choices and not set(value) <= set(self.choices):
            return f"String must be one of: {', '.join(self.choices)}"
        return None


@attrs.frozen
class NonEmpty:
    """A text that says something, or nothing set at all."""

    allowed: str = attrs.field(default="a non-empty text", init=False)

    def wrong(self, value: ConfigValue) -> str | None:
        return "String must be non-empty" if value == "" else None


@attrs.frozen
class NonNull:
    """Anything but no value."""

    allowed: str = attrs.field(default="", init=False)

    def wrong(self, value: ConfigValue) -> str | None:
        return "entry must be non null" if value is None else None


@attrs.frozen
class ThrottledReplicas:
    """The replicas of a topic that a replication throttle is for (KIP-73)."""

    allowed: str = attrs.field(default="* or partition:broker,partition:broker,...", init=False)

    def wrong(self, value: ConfigValue) -> str | None:
        replicas = value if isinstance(value, tuple) else ()
        if replicas == ("*",) or all(_REPLICA.fullmatch(replica) for replica in replicas):
            return None
        return (
            "Value must be the literal '*' or a list of replicas in the following format: "
            "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
        )


@attrs.frozen
class ShareOffsetReset:
    """Where a share group starts to read (KIP-932, KIP-1106)."""

    allowed: str = attrs.field(default="earliest, latest or by_duration:<PnDTnHnMn.nS>", init=False)

    def wrong(self, value: ConfigValue) -> str | None:
        text = value if isinstance(value, str) else ""
        name, colon, duration = text.partition(":")
        if not colon and name.lower() in ("earliest", "latest"):
            return None
        if colon and name.lower() == "by_duration" and _DURATION.fullmatch(duration):
            return None
        return "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'"


def validator_from(data: Mapping[str, Any] | None) -> Validator | None:
    """The validator that a key's JSON names, or None: any value of its type."""
    match data:
        case None:
            return None
        case {"one_of": words}:
            return OneOf(tuple(words))
        case {"one_of_ignoring_case": words}:
            return OneOf(tuple(words), ignoring_case=True)
        case {"list": words}:
            return ListOf(choices=tuple(words), non_empty="non_empty" in data, non_null="non_null" in data)
        case {"non_empty": True}:
            return NonEmpty()
        case {"non_null": True}:
            return NonNull()
        case {"throttled_replicas": True}:
            return ThrottledReplicas()
        case {"share_offset_reset": True}:
            return ShareOffsetReset()
        case _:
            return InRange(min=data.get("min"), max=data.get("max"), extra=data.get("or"))
