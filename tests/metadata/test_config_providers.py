"""Values from files and from the environment."""

import pathlib

import pytest

from quorate.controller.config import ControllerConfig
from quorate.metadata.config_providers import resolved
from quorate.metadata.settings import InvalidSettings, RawSettings

CLASSES = "org.apache.kafka.common.config.provider."
PROVIDERS = {
    "config.providers": "file,env, dir",
    "config.providers.file.class": CLASSES + "FileConfigProvider",
    "config.providers.env.class": CLASSES + "EnvVarConfigProvider",
    "config.providers.dir.class": CLASSES + "DirectoryConfigProvider",
}


def value(text: str, environ: dict[str, str] | None = None, **more: str) -> str:
    raw = resolved(RawSettings.of({**PROVIDERS, **more, "key": text}), environ or {})
    return raw.texts["key"].value


def problem(text: str, **more: str) -> str:
    with pytest.raises(InvalidSettings) as refusal:
        value(text, {"SECRET": "hush"}, **more)
    return str(refusal.value)


def test_from_the_environment() -> None:
    assert value("a ${env:SECRET} b ${env:SECRET}", {"SECRET": "hush"}) == "a hush b hush"


def test_from_a_properties_file_whatever_its_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets").write_text("key.password = hu:sh\n")

    assert value(f"${{file:{tmp_path}/secrets:key.password}}") == "hu:sh"


def test_from_the_files_of_a_directory(tmp_path: pathlib.Path) -> None:
    (tmp_path / "password").write_text("hush")

    assert value(f"${{dir:{tmp_path}:password}}") == "hush"


def test_other_placeholders_are_text() -> None:
    assert value("${vault:a:b} ${x} $ {}") == "${vault:a:b} ${x} $ {}"
    raw = resolved(RawSettings.of({"key": "${env:SECRET}"}), {"SECRET": "hush"})
    assert raw.texts["key"].value == "${env:SECRET}"


def test_what_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets").write_text("other = hush\n")

    assert "no variable NONE" in problem("${env:NONE}")
    assert "has no key password" in problem(f"${{file:{tmp_path}/secrets:password}}")
    assert "cannot be read" in problem(f"${{file:{tmp_path}/nowhere:password}}")
    assert "cannot be read" in problem(f"${{dir:{tmp_path}:password}}")
    assert "names no path" in problem("${file:password}")
    assert "has no path" in problem("${env:a:SECRET}")


def test_places_and_variables_may_be_limited(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s").write_text("a=1")
    (tmp_path / "out").write_text("a=2")
    limits = {"config.providers.file.param.allowed.paths": str(tmp_path / "in")}

    assert value(f"${{file:{tmp_path}/in/s:a}}", None, **limits) == "1"
    assert "allowed.paths" in problem(f"${{file:{tmp_path}/out:a}}", **limits)
    assert "allowed.paths" in problem(f"${{file:{tmp_path}/in/../out:a}}", **limits)
    assert "allowlist.pattern" in problem(
        "${env:SECRET}", **{"config.providers.env.param.allowlist.pattern": "K_.*"}
    )
    assert "no name of a file" in problem(f"${{dir:{tmp_path}/in:../out}}")


@pytest.mark.parametrize(
    ("given", "why"), [({}, "It is missing"), ({"config.providers.x.class": "a.B"}, "a.B cannot")]
)
def test_a_provider_that_is_not_known_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidSettings, match=why):
        resolved(RawSettings.of({"config.providers": "x", **given}), {})


def test_a_node_reads_its_password_so_and_is_not_warned(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secrets").write_text(
        "jaas = org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username=\\"n\\" password=\\"p\\" user_n=\\"p\\";\n'
    )
    config = tmp_path / "c.properties"
    config.write_text(
        "node.id=1\nprocess.roles=controller\nlisteners=CONTROLLER://localhost:1\n"
        "controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:1\n"
        "metadata.log.dir=/x\nlistener.security.protocol.map=CONTROLLER:SASL_PLAINTEXT\n"
        "sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.controller.protocol=PLAIN\n"
        f"sasl.jaas.config=${{file:{tmp_path}/secrets:jaas}}\n"
        + "".join(f"{key}={text}\n" for key, text in PROVIDERS.items())
    )

    found, warnings = ControllerConfig.load(config, {})

    assert warnings == ()
    sasl = found.listener_security["CONTROLLER"].sasl
    assert sasl is not None
    assert sasl.plain_users == {"n": "p"}
