"""`quorate features`: which levels are finalized, and what the nodes support."""

from quorate.admin.asking import Session, asks_cluster
from quorate.admin.options import command_group
from quorate.admin.output import Table
from quorate.admin.results import check_whole
from quorate.metadata.features import METADATA_VERSION, METADATA_VERSIONS
from quorate.metadata.wire.cluster import ApiVersionsRequest

app = command_group("Feature levels: what is finalized and what is supported.")


@app.callback()
def _features() -> None:
    """Feature levels: what is finalized and what is supported."""


@app.command("describe")
@asks_cluster
async def describe_features(session: Session) -> None:
    """Shows each feature's finalized level and supported levels.

    Supported is what the node supports that answers.
    """
    found = await session.read(
        ApiVersionsRequest(client_software_name="quorate", client_software_version="1")
    )
    check_whole("The features cannot be described.", found.error_code, None)
    finalized = {one.name: one.max_version_level for one in found.finalized_features}
    supported = {one.name: (one.min_version, one.max_version) for one in found.supported_features}
    names = sorted({*finalized, *supported})
    documents = [
        {
            "name": name,
            "finalized_level": finalized.get(name, 0),
            "finalized_name": _level_name(name, finalized.get(name, 0)),
            "supported": dict(zip(("min", "max"), supported[name], strict=True))
            if name in supported
            else None,
        }
        for name in names
    ]
    rows = [
        (
            name,
            _shown(name, finalized.get(name, 0)),
            *(_shown(name, level) for level in supported.get(name, ())),
        )
        if name in supported
        else (name, _shown(name, finalized.get(name, 0)), None, None)
        for name in names
    ]
    session.printer.show(
        {"features": documents, "epoch": found.finalized_features_epoch},
        Table(("FEATURE", "FINALIZED", "SUPPORTED FROM", "TO"), rows),
        f"Epoch (offset of the last change seen): {found.finalized_features_epoch}",
    )


def _level_name(feature: str, level: int) -> str | None:
    known = METADATA_VERSIONS.get(level) if feature == METADATA_VERSION else None
    return known.name if known else None


def _shown(feature: str, level: int) -> str:
    name = _level_name(feature, level)
    return f"{level} ({name})" if name else str(level)
