"""Files and variables become texts by key; texts become values, with every problem at once."""

import pathlib
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.metadata import settings
from quorate.metadata.config_keys import ConfigType
from quorate.metadata.settings import InvalidSettings, RawSettings, Reader, at_least, own_setting, setting


def texts_of(raw: RawSettings) -> dict[str, str]:
    return {key: text.value for key, text in raw.texts.items()}


def read(directory: pathlib.Path, name: str, content: str) -> dict[str, str]:
    path = directory / name
    path.write_bytes(content.encode())
    return texts_of(settings.read(path))


# --- TOML


def test_toml_tables_are_joined_by_dots(tmp_path: pathlib.Path) -> None:
    content = """
        node.id = 1
        log.retention.ms = -1
        ratio = 0.5
        "max.connections" = 5
        "max.connections.per.ip" = 6
        listeners = ["A://:1", "B://:2"]
        empty = []
        [controller.quorum]
        auto.join.enable = true
        voters = ""
    """

    assert read(tmp_path, "a.toml", content) == {
        "node.id": "1",
        "log.retention.ms": "-1",
        "ratio": "0.5",
        "max.connections": "5",
        "max.connections.per.ip": "6",
        "listeners": "A://:1,B://:2",
        "empty": "",
        "controller.quorum.auto.join.enable": "true",
        "controller.quorum.voters": "",
    }


names = st.from_regex(r"[a-z]{1,4}", fullmatch=True)
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.booleans(), st.from_regex(r"[a-z:/ ]{0,8}", fullmatch=True)
)


@given(st.dictionaries(names, st.one_of(values, st.dictionaries(names, values, max_size=3)), max_size=4))
def test_a_key_is_the_path_to_it(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, Any]) -> None:
    def written(value: object) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    lines, expected = [], {}
    for name, value in tables.items():
        for key, leaf in value.items() if isinstance(value, dict) else [(None, value)]:
            full = name if key is None else f"{name}.{key}"
            lines.append(f"{full} = {written(leaf)}")
            expected[full] = leaf if isinstance(leaf, str) else str(leaf).lower()

    assert read(tmp_path_factory.mktemp("toml"), "a.toml", "\n".join(lines)) == expected


# --- properties


def test_properties_are_read_as_java_reads_them(tmp_path: pathlib.Path) -> None:
    content = "\n".join([
        "# comment",
        "  ! another",
        "",
        "a=1",
        "b : 2",
        "c\t3",
        "d",
        "e = x = y ",
        "f = one,\\",
        "    two,\\",
        "three",
        "g\\:h\\ i = tab\\tend",
        "j = \\u00e4\\\\",
        "#k = 1 \\",
        "l = 2",
        "  m=3",
        "n = last\\",
    ])  # fmt: skip

    assert read(tmp_path, "a.properties", content) == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d": "",
        "e": "x = y ",
        "f": "one,two,three",
        "g:h i": "tab\tend",
        "j": "ä\\",
        "l": "2",
        "m": "3",
        "n": "last",
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end(tmp_path: pathlib.Path, end: str) -> None:
    assert read(tmp_path, "a.properties", f"#x{end}a=1{end}{end}b=2,\\{end}  3") == {"a": "1", "b": "2,3"}


def test_the_last_of_equal_keys_counts_and_is_warned_of(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.properties"
    path.write_text("secret=one\nsecret=two\n")
    raw = settings.read(path)

    assert texts_of(raw) == {"secret": "two"}
    assert [warning.key for warning in raw.warnings] == ["secret"]
    assert "two" not in str(raw.warnings[0])


def escaped(text: str, *, is_key: bool) -> str:
    """As java.util.Properties.store writes it."""
    out = []
    for index, letter in enumerate(text):
        if letter == " " and (is_key or index == 0):
            out.append("\\ ")
        elif letter in "\t\n\r\f":
            out.append({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}[letter])
        elif letter in "=:#!\\":
            out.append("\\" + letter)
        elif not " " <= letter <= "~":
            out.append(f"\\u{ord(letter):04x}")
        else:
            out.append(letter)
    return "".join(out)


bmp = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])


@given(st.dictionaries(st.text(bmp, min_size=1, max_size=8), st.text(bmp, max_size=12), max_size=5))
def test_what_java_stores_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, properties: dict[str, str]
) -> None:
    lines = [
        f"{escaped(key, is_key=True)}={escaped(value, is_key=False)}" for key, value in properties.items()
    ]

    assert read(tmp_path_factory.mktemp("properties"), "a.properties", "\n".join(lines)) == properties


@given(st.text(max_size=60), st.sampled_from(["a.toml", "a.properties"]))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content.encode("utf-8", "replace"))
    try:
        settings.read(path)
    except InvalidSettings as error:
        assert error.problems  # noqa: PT017


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidSettings, match="It cannot be read: No such file or directory"):
        settings.read(tmp_path / "none.toml")


# --- the environment


def test_the_environment_overrides() -> None:
    raw = RawSettings.of({"node.id": "1", "process.roles": "broker"}, file="a.toml")
    environ = {"QUORATE_NODE_ID": "2", "QUORATE_LOG_FORMAT": "json", "NODE_ID": "3", "PATH": "/bin"}
    over = settings.overlay(raw, environ, ["node.id", "process.roles", "quorate.log.format"])

    assert texts_of(over) == {"node.id": "2", "process.roles": "broker", "quorate.log.format": "json"}
    assert over.texts["node.id"].origin == "environment variable QUORATE_NODE_ID"
    assert over.texts["process.roles"].origin == "a.toml"
    assert over.warnings == ()


def test_an_own_key_has_its_variable_before_kafkas() -> None:
    over = settings.overlay(
        RawSettings.of({}), {"QUORATE_MAX_CONNECTIONS": "5"}, ["max.connections", "quorate.max.connections"]
    )

    assert texts_of(over) == {"quorate.max.connections": "5"}


def test_a_variable_that_is_no_key_is_warned_of() -> None:
    over = settings.overlay(
        RawSettings.of({}),
        {"QUORATE_NODE_IDD": "1", "QUORATE_BOOTSTRAP": "x", "QUORATE_ZOOKEEPER": "x"},
        ["node.id"],
    )

    assert [str(warning) for warning in over.warnings] == [
        "environment: QUORATE_NODE_IDD: this variable names no key and is ignored. Did you mean QUORATE_NODE_ID?"
    ]


# --- fields


@attrs.frozen(kw_only=True)
class Example:
    session_ms: int = setting("broker.session.timeout.ms", allowed=at_least(5), unit="ms")
    interval_ms: int = setting(
        "leader.imbalance.check.interval.seconds", unit="seconds", convert=settings.seconds_as_ms
    )
    password: str | None = setting("ssl.key.password", secret=True)
    node_id: int = setting("node.id")
    size: int = own_setting("size", ConfigType.INT, "3", "How large.", allowed=at_least(1, 9))


def test_defaults_are_kafkas() -> None:
    example = Example(node_id=1)

    assert (example.session_ms, example.interval_ms, example.password, example.size) == (
        9000,
        300_000,
        None,
        3,
    )
    with pytest.raises(TypeError, match="node_id"):
        Example()


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(Example(node_id=1, password="hunter2"))


def test_what_is_allowed_is_said_with_its_unit() -> None:
    allowed = {name: declared.allowed for name, declared in settings.settings_of(Example)}

    assert allowed == {
        "session_ms": "an integer (ms), at least 5",
        "interval_ms": "an integer (seconds), at least 1",
        "password": "a text",
        "node_id": "an integer, at least 0",
        "size": "an integer, at least 1 and at most 9",
    }


def test_all_problems_come_at_once_and_the_first_word_about_a_key_stands() -> None:
    reader = Reader(RawSettings.of({"broker.session.timeout.ms": "4", "quorate.size": "10"}, file="a.toml"))
    for _, declared in settings.settings_of(Example):
        reader.read(declared)
    reader.problem("quorate.size", "never said")

    with pytest.raises(InvalidSettings) as error:
        reader.check()

    assert str(error.value).splitlines() == [
        "This configuration cannot be used (3 problems):",
        "a.toml: broker.session.timeout.ms = 4",
        "    It must be an integer (ms), at least 5.",
        "a.toml: node.id",
        "    It is missing. It must be an integer, at least 0.",
        "a.toml: quorate.size = 10",
        "    It must be an integer, at least 1 and at most 9.",
    ]
    assert reader.values == {"leader.imbalance.check.interval.seconds": 300_000, "ssl.key.password": None}


def test_a_secret_is_hidden_in_its_problem() -> None:
    reader = Reader(RawSettings.of({"ssl.key.password": "hunter2"}))
    reader.problem("ssl.key.password", "It is too short.", hide=True)

    assert "hunter2" not in str(reader.problems[0])
    assert "[hidden]" in str(reader.problems[0])
