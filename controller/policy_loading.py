"""Finding the policies that a configuration names (shell: it imports other people's code)."""

import importlib
import importlib.metadata
from typing import Any, Final

from quorate.controller.config import ControllerConfig
from quorate.controller.policies import Policies
from quorate.metadata.settings import InvalidSettings, Problem

CREATE_TOPIC_GROUP: Final = "quorate.create_topic_policy"
ALTER_CONFIG_GROUP: Final = "quorate.alter_config_policy"
_CREATE_KEY: Final = "create.topic.policy.class.name"
_ALTER_KEY: Final = "alter.config.policy.class.name"


def load_policies(config: ControllerConfig) -> Policies:
    """
    Raises:
        InvalidSettings: one of them cannot be found or made.
    """
    problems: list[Problem] = []
    create = _load(config, _CREATE_KEY, config.create_topic_policy, CREATE_TOPIC_GROUP, problems)
    alter = _load(config, _ALTER_KEY, config.alter_config_policy, ALTER_CONFIG_GROUP, problems)
    if problems:
        raise InvalidSettings(problems)
    return Policies(create, alter)


def _load(
    config: ControllerConfig, key: str, name: str | None, group: str, problems: list[Problem]
) -> Any | None:
    if not name:
        return None
    try:
        policy = _find(name, group)()
        if not callable(getattr(policy, "validate", None)):
            raise TypeError("it has no method validate(request)")
        configure = getattr(policy, "configure", None)
        if configure is not None:
            configure(dict(config.static))
    except Exception as error:  # noqa: BLE001  it is other people's code
        problems.append(
            Problem(
                origin="the configuration",
                key=key,
                value=name,
                why=f"This policy cannot be used: {type(error).__name__}: {error}. Name a Python class as "
                f"package.module.Class, or an entry point of the group {group}; quorate.controller.policies says "
                "what it needs. Kafka's own are Java classes and cannot be loaded.",
            )
        )
        return None
    return policy


def _find(name: str, group: str) -> Any:
    for point in importlib.metadata.entry_points(group=group, name=name):
        return point.load()
    module, dot, attribute = name.rpartition(".")
    if not dot:
        raise LookupError(f"there is no entry point {name!r}")
    return getattr(importlib.import_module(module), attribute)
