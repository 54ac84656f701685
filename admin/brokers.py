"""`quorate brokers`: list, describe, unregister."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

import attrs
import typer

from quorate.admin import parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table, plural
from quorate.admin.results import ItemError, check_items, check_whole, error_document
from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire.brokers import UnregisterBrokerRequest
from quorate.metadata.wire.cluster import DescribeClusterBroker, DescribeClusterRequest, MetadataRequest

app = command_group("List, describe and unregister brokers.")

_CONTROLLERS: Final = 2
"""DescribeCluster's endpoint type (KIP-919)."""

IdsOption = Annotated[
    list[str] | None,
    typer.Option("--id", "-i", metavar="ID", help="A broker's id; several with commas, or repeated."),
]


@attrs.frozen
class _Load:
    """What a broker has to do with the topics."""

    leads: int
    holds: int


@app.command("list")
@asks_cluster
async def list_brokers(session: Session) -> None:
    """Lists the registered brokers, fenced ones too."""
    brokers = await _registered(session)
    rows = [(one.broker_id, f"{one.host}:{one.port}", one.rack, _state(one)) for one in brokers]
    fenced = sum(one.is_fenced for one in brokers)
    session.printer.show(
        {"brokers": [_document(one) for one in brokers]},
        Table(("BROKER", "ADDRESS", "RACK", "STATE"), rows),
        f"{plural(len(brokers), 'broker')}, {fenced} fenced" if brokers else "No broker is registered.",
    )


@app.command("describe")
@asks_cluster
async def describe_brokers(session: Session, id: IdsOption = None) -> None:
    """Describes all brokers, or those named, and what they lead."""
    wanted = _ids(id)
    registered = {one.broker_id: one for one in await _registered(session)}
    loads = await _loads(session)
    shown = sorted(registered) if wanted is None else wanted
    documents: list[dict[str, Any]] = []
    rows, errors = [], []
    for broker_id in shown:
        broker = registered.get(broker_id)
        if broker is None:
            code = ErrorCode.broker_id_not_registered
            errors.append(ItemError(item=f"broker {broker_id}", code=code, message=None))
            documents.append({"id": broker_id, "error": error_document(code, None)})
            continue
        load = loads.get(broker_id, _Load(0, 0))
        documents.append({**_document(broker), "leads": load.leads, "holds": load.holds, "error": None})
        address = f"{broker.host}:{broker.port}"
        rows.append((broker_id, address, broker.rack, _state(broker), load.leads, load.holds))
    session.printer.show(
        {"brokers": documents},
        Table(("BROKER", "ADDRESS", "RACK", "STATE", "LEADS", "HOLDS"), rows),
    )
    check_items("described", errors, len(shown))


@app.command("unregister")
@asks_cluster
async def unregister_broker(
    session: Session,
    id: Annotated[int, typer.Option("--id", "-i", metavar="ID", min=0, help="The broker's id.")],
) -> None:
    """Removes a broker's registration. Stop the broker first: one that runs registers again."""
    response = await session.write(UnregisterBrokerRequest(broker_id=id))
    document = {"id": id, "error": error_document(response.error_code, response.error_message)}
    ok = response.error_code is ErrorCode.none
    session.printer.show({"brokers": [document]}, *([f"Broker {id} is no longer registered."] if ok else []))
    check_whole(f"Broker {id} was not unregistered.", response.error_code, response.error_message)


async def _registered(session: Session) -> Sequence[DescribeClusterBroker]:
    """A controller stands in for a broker where clients ask it for brokers; here it is none."""
    response = await session.read(DescribeClusterRequest(include_fenced_brokers=True))
    check_whole("The brokers cannot be listed.", response.error_code, response.error_message)
    controllers = await session.read(DescribeClusterRequest(endpoint_type=_CONTROLLERS))
    others = {one.broker_id for one in controllers.brokers}  # none where a broker answers: it refuses this
    return sorted(
        (one for one in response.brokers if one.broker_id not in others), key=lambda one: one.broker_id
    )


async def _loads(session: Session) -> dict[int, _Load]:
    found = await session.read(MetadataRequest(topics=None, allow_auto_topic_creation=False))
    partitions = [partition for topic in found.topics for partition in topic.partitions]
    leads = Counter(partition.leader_id for partition in partitions)
    holds = Counter(broker for partition in partitions for broker in partition.replica_nodes)
    return {broker: _Load(leads[broker], holds[broker]) for broker in holds}


def _ids(texts: list[str] | None) -> list[int] | None:
    if not texts:
        return None
    words = parsing.names(texts)
    for word in words:
        if not word.isdecimal():
            raise WrongUsage("--id cannot be used.", why=f"{word!r} is no broker id")
    return [int(word) for word in words]


def _document(broker: DescribeClusterBroker) -> dict[str, Any]:
    return {
        "id": broker.broker_id,
        "host": broker.host,
        "port": broker.port,
        "rack": broker.rack,
        "fenced": broker.is_fenced,
    }


def _state(broker: DescribeClusterBroker) -> str:
    return "fenced" if broker.is_fenced else "unfenced"
