"""A cluster of Kafka's own servers, all in the JVM that runs the tools: what golden files are recorded on.

Three controllers and three brokers, with the ids that `quorate dev` gives. Every listener asks for a name and a
password, since tokens are given to none who has no name; the authorizer is Kafka's own.
"""

import pathlib
import random
import time
from typing import Final

from quorate.admin.ports import LOOPBACK, HeldPorts
from quorate.metadata.ids import random_uuid, uuid_to_text
from tests.e2e.java.jvm import Jvm
from tests.e2e.java.walk import Place

CONTROLLERS: Final = (1, 2, 3)
BROKERS: Final = (101, 102, 103)
_PASSWORD: Final = "recorded"  # of a cluster on loopback that lives for a minute
_LOGIN: Final = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="admin" password="{_PASSWORD}" user_admin="{_PASSWORD}";'
)
_WITHIN_S: Final = 120.0


def start(jvm: Jvm, version: str, directory: pathlib.Path) -> Place:
    """Formats and starts them, and waits until all brokers are there.

    Raises:
        RuntimeError: they do not come up.
    """
    rng = random.Random()
    with (
        HeldPorts() as held
    ):  # given back before the servers bind them: they do not share a port that is held
        ports = {id: held.claim(rng) for id in (*CONTROLLERS, *BROKERS)}
    voters = ",".join(f"{id}@{LOOPBACK}:{ports[id]}:{uuid_to_text(random_uuid(rng))}" for id in CONTROLLERS)
    cluster_id = uuid_to_text(random_uuid(rng))
    controllers = ",".join(f"{LOOPBACK}:{ports[id]}" for id in CONTROLLERS)
    for id, port in ports.items():
        file = directory / f"{id}.properties"
        file.write_text(_properties(id, port, controllers, directory))
        how = ["--initial-controllers", voters] if id in CONTROLLERS else ["--no-initial-controllers"]
        formatted = jvm.run(
            "kafka-storage",
            ["format", "-t", cluster_id, "-c", str(file), "--feature", "metadata.version=21", *how],
        )
        if formatted.exit:
            raise RuntimeError(f"node {id} was not formatted:\n{formatted.out}{formatted.err}")
    for id in ports:
        jvm.start("kafka.Kafka", str(directory / f"{id}.properties"))
    config = directory / "client.properties"
    config.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={_LOGIN}\n")
    place = Place(
        brokers=",".join(f"{LOOPBACK}:{ports[id]}" for id in BROKERS),
        controllers=controllers,
        addresses={
            f"{LOOPBACK}:{port}": f"{'controller' if id in CONTROLLERS else 'broker'}-{id}"
            for id, port in ports.items()
        },
        command_config=config,
    )
    _wait(jvm, place)
    return place


def _wait(jvm: Jvm, place: Place) -> None:
    until = time.monotonic() + _WITHIN_S
    options = ["--bootstrap-server", place.brokers, "--command-config", str(place.command_config)]
    while time.monotonic() < until:
        ran = jvm.run("kafka-broker-api-versions", options)
        if all(f"id: {id} " in ran.out for id in BROKERS):
            return
    raise RuntimeError(f"the cluster did not come up:\n{ran.out}\n{ran.err}\n{jvm.said()}")


def _properties(id: int, port: int, controllers: str, directory: pathlib.Path) -> str:
    role = "controller" if id in CONTROLLERS else "broker"
    listener = "CONTROLLER" if role == "controller" else "CLIENT"
    lines = [
        f"node.id={id}",
        f"process.roles={role}",
        f"listeners={listener}://{LOOPBACK}:{port}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=CONTROLLER:SASL_PLAINTEXT,CLIENT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.mechanism.controller.protocol=PLAIN",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        f"controller.quorum.bootstrap.servers={controllers}",
        f"log.dirs={directory / str(id)}",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:admin",
        f"delegation.token.secret.key={_PASSWORD}",
        "controller.quorum.election.timeout.ms=5000",  # six servers start in one JVM: none may be given up
        "controller.quorum.fetch.timeout.ms=15000",
        "controller.quorum.request.timeout.ms=15000",
        "broker.session.timeout.ms=60000",
        "offsets.topic.num.partitions=1",
        "offsets.topic.replication.factor=1",
        "log.cleaner.dedupe.buffer.size=8388608",
    ]
    lines += [f"listener.name.{name}.plain.sasl.jaas.config={_LOGIN}" for name in ("controller", "client")]
    if role == "broker":
        lines.append("inter.broker.listener.name=CLIENT")
    return "\n".join(lines) + "\n"
