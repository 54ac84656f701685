"""`quorate features`: which levels are finalized, what the nodes support, and going up and down; as kafka-features."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from quorate.admin import parsing
from quorate.admin.asking import Session, asks_cluster
from quorate.admin.errors import WrongUsage
from quorate.admin.options import command_group
from quorate.admin.output import Table
from quorate.admin.results import check_whole, error_document
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import METADATA_VERSION, METADATA_VERSIONS, parse_metadata_version
from quorate.metadata.wire.cluster import (
    ApiVersionsRequest,
    FeatureUpdateKey,
    UpdateFeaturesRequest,
)

app = command_group("Feature levels: what is finalized and supported, up and down.")

_UPGRADE: Final = 1
_SAFE_DOWNGRADE: Final = 2
_UNSAFE_DOWNGRADE: Final = 3

LevelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--feature",
        metavar="NAME=LEVEL",
        help="A feature and its level; may be repeated. That of metadata.version may be a release: 4.0, 4.0-IV3.",
    ),
]
MetadataOption = Annotated[
    str | None,
    typer.Option("--metadata", "--release-version", metavar="RELEASE", help="The level of metadata.version."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Let the controller check everything, and change nothing.")
]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe", help="Also if metadata would be lost; no node offers that yet.")
]


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


# --- up and down


@app.command("upgrade")
@asks_cluster
async def upgrade(
    session: Session,
    feature: LevelsOption = None,
    metadata: MetadataOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Raises levels. Every node must support them; all are raised, or none."""
    await _update(session, _levels(feature, metadata), _UPGRADE, "upgraded", dry_run=dry_run)


@app.command("downgrade")
@asks_cluster
async def downgrade(
    session: Session,
    feature: LevelsOption = None,
    metadata: MetadataOption = None,
    unsafe: UnsafeOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Lowers levels, where no metadata is lost by that."""
    kind = _UNSAFE_DOWNGRADE if unsafe else _SAFE_DOWNGRADE
    await _update(session, _levels(feature, metadata), kind, "downgraded", dry_run=dry_run)


@app.command("disable")
@asks_cluster
async def disable(
    session: Session,
    feature: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A feature; several with commas, or repeated.")
    ] = None,
    unsafe: UnsafeOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Takes features out of use: the same as a downgrade to level 0."""
    levels = dict.fromkeys(parsing.names(feature or ()), 0)
    if not levels:
        raise WrongUsage("No feature is named.", remedy="add --feature NAME")
    kind = _UNSAFE_DOWNGRADE if unsafe else _SAFE_DOWNGRADE
    await _update(session, levels, kind, "disabled", dry_run=dry_run)


def _levels(features: Sequence[str] | None, metadata: str | None) -> dict[str, int]:
    pairs = parsing.one_pair_each("--feature", features or ())
    if metadata is not None:
        if METADATA_VERSION in pairs:
            raise WrongUsage(f"{METADATA_VERSION} is given twice.", why="by --feature and by --metadata")
        pairs[METADATA_VERSION] = metadata
    if not pairs:
        raise WrongUsage("No feature is named.", remedy="add --feature NAME=LEVEL, or --metadata RELEASE")
    return {name: _level(name, text) for name, text in pairs.items()}


def _level(name: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) < 2**15:
        return int(text)
    if name != METADATA_VERSION:
        raise WrongUsage("--feature cannot be used.", why=f"{text!r} is no level of {name}")
    try:
        return parse_metadata_version(text)
    except ValueError as error:
        raise WrongUsage(f"{METADATA_VERSION} cannot be set.", why=str(error)) from error


async def _update(
    session: Session, levels: Mapping[str, int], kind: int, verb: str, *, dry_run: bool
) -> None:
    response = await session.write(
        UpdateFeaturesRequest(
            timeout_ms=session.timeout_ms,
            feature_updates=tuple(
                FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=kind)
                for name, level in levels.items()
            ),
            validate_only=dry_run,
        )
    )
    error = error_document(response.error_code, response.error_message)
    documents = [
        {"name": name, "level": level, "level_name": _level_name(name, level), "error": error}
        for name, level in levels.items()
    ]
    done = f"can be {verb}" if dry_run else f"was {verb}"
    lines = [
        f"{name} {done}." if verb == "disabled" else f"{name} {done} to {_shown(name, level)}."
        for name, level in levels.items()
    ]
    ok = response.error_code is ErrorCode.none
    session.printer.show({"features": documents, "dry_run": dry_run}, *(lines if ok else []))
    check_whole("No feature was changed.", response.error_code, response.error_message)


def _level_name(feature: str, level: int) -> str | None:
    known = METADATA_VERSIONS.get(level) if feature == METADATA_VERSION else None
    return known.name if known else None


def _shown(feature: str, level: int) -> str:
    name = _level_name(feature, level)
    return f"{level} ({name})" if name else str(level)
