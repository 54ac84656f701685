"""What `--command-config FILE` may say to a command that asks a ZooKeeper ensemble: Kafka's `zookeeper.` keys.

The file may be a broker's own: keys of other things are not looked at. A misspelt one of these is refused.
"""

import os
import pathlib

from quorate.metadata import config_providers
from quorate.metadata.settings import InvalidSettings, Problem, read
from quorate.metadata.zookeeper.connect_settings import IGNORED, KEYS, SECRET, connect_settings
from quorate.metadata.zookeeper.interface import ConnectSettings

_ELSEWHERE = frozenset({"zookeeper.connect", "zookeeper.metadata.migration.enable", "zookeeper.set.acl"})
"""Said by the command itself, or meant for a broker."""


def load_zookeeper_settings(hosts: str, path: pathlib.Path | None) -> ConnectSettings:
    """
    Raises:
        InvalidSettings: all that is wrong with the file.
    """
    if path is None:
        return ConnectSettings(hosts=hosts)
    raw = config_providers.resolved(read(path), os.environ)
    texts = {key: text.value.strip() for key, text in raw.texts.items()}
    problems: list[Problem] = []

    def refuse(key: str, why: str) -> None:
        value = "[hidden]" if key in SECRET and key in texts else texts.get(key)
        problems.append(Problem(origin=str(path), key=key, value=value, why=why))

    for key in texts:
        ours = key.startswith(("zookeeper.", "quorate.zookeeper."))
        if ours and key not in KEYS | IGNORED | _ELSEWHERE:
            refuse(key, "there is no such key")
    found = connect_settings(hosts, texts, refuse)
    if problems:
        raise InvalidSettings(problems)
    return found
