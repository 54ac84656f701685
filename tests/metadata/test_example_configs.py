"""The files under configs/: each one loads, says every key, and tells the truth about defaults."""

import itertools
import pathlib
import re

import attrs
import pytest

from quorate.broker.config import BrokerConfig
from quorate.controller.config import ControllerConfig
from quorate.metadata.node_config import NodeConfig
from quorate.metadata.settings import settings_of

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.toml"))
COMMENTED_KEY = re.compile(r"^#(?=[a-z][a-z.]* = )", re.MULTILINE)
EXAMPLES = {
    "rack",
    "delegation_token_secret_key",
    "create_topic_policy",
    "alter_config_policy",
    "static",
}
"""Fields whose commented line is an example, there being no default."""


def kind_of(file: pathlib.Path) -> type[NodeConfig]:
    return BrokerConfig if file.name.startswith("broker") else ControllerConfig


def test_these_files_are_there() -> None:
    assert [file.name for file in FILES] == [
        "broker-1.toml",
        "broker-2.toml",
        "controller-1.toml",
        "controller-2.toml",
        "controller-3.toml",
        "single-node.toml",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_loads_without_a_warning(file: pathlib.Path) -> None:
    config, warnings = kind_of(file).load(file, {})

    assert warnings == ()
    assert config.metadata_log_dir == pathlib.Path("data") / file.stem


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_commented_key_shows_its_default(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    kind = kind_of(file)
    everything = tmp_path / file.name
    everything.write_text(COMMENTED_KEY.sub("", file.read_text()))
    config, _ = kind.load(file, {})
    spelled_out, warnings = kind.load(everything, {})

    assert warnings == ()
    different = {
        field.name
        for field in attrs.fields(kind)
        if getattr(config, field.name) != getattr(spelled_out, field.name)
    }
    assert different <= EXAMPLES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_key_of_the_role_is_explained(file: pathlib.Path) -> None:
    lines = file.read_text().splitlines()
    explained = {
        line.lstrip("#").partition(" = ")[0]
        for above, line in itertools.pairwise(lines)
        if above.startswith("# ") and re.match(r"#?[a-z][a-z.]* = ", line)
    }

    assert {declared.key for _, declared in settings_of(kind_of(file))} - explained == set()
    assert len([line for line in lines if re.match(r"#?[a-z][a-z.]* = ", line)]) == len(explained)


def test_the_quorum_of_three_fits_together() -> None:
    controllers = [ControllerConfig.load(CONFIGS / f"controller-{n}.toml", {})[0] for n in (1, 2, 3)]
    brokers = [BrokerConfig.load(CONFIGS / f"broker-{n}.toml", {})[0] for n in (1, 2)]
    nodes: list[NodeConfig] = [*controllers, *brokers]
    own = [f"{listener.host}:{listener.port}" for node in nodes for listener in node.advertised_listeners]

    assert len({node.node_id for node in nodes}) == 5
    assert len(set(own)) == 5
    assert len({node.metadata_log_dir for node in nodes}) == 5
    for node in nodes:
        assert [str(server) for server in node.bootstrap_servers] == own[:3]
