"""UpdateFeatures (KIP-584, KIP-778, KIP-1022): which level of a feature the whole cluster uses.

A level is finalized only if this controller, every registered broker, fenced ones too, and every controller support
it: whoever cannot read what is written from then on would stop, or worse, go on with half of it. All updates of a
request are carried out together or not at all.

kraft.version is kept by the quorum in records of its own; it is told and judged here, and does not change.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

from quorate.controller import eligible_leaders
from quorate.controller.context import Context
from quorate.controller.migration.mode import is_migrating
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.features import (
    KRAFT_VERSION,
    METADATA_VERSION,
    METADATA_VERSIONS,
    NEEDED_METADATA_VERSION,
    SUPPORTED,
    describe_level,
    metadata_changed_between,
)
from quorate.metadata.ids import NodeId
from quorate.metadata.records import AnyDataRecord, FeatureLevelRecord, VersionRange
from quorate.metadata.wire.cluster import (
    FeatureUpdateKey,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

UPGRADE: Final = 1
SAFE_DOWNGRADE: Final = 2
UNSAFE_DOWNGRADE: Final = 3
LAST_VERSION_WITH_RESULTS: Final = 1
"""UpdateFeatures answers feature by feature up to this version, and as a whole after it (KIP-1022)."""
_UNSUPPORTED: Final = VersionRange(min_supported_version=0, max_supported_version=0)


def update_features(
    context: Context, request: UpdateFeaturesRequest
) -> ControllerResult[UpdateFeaturesResponse]:
    """Finalizes other levels; `validate_only`: says whether it would.

    Answers INVALID_UPDATE_VERSION or INVALID_REQUEST if any of them cannot be; nothing is changed then.
    """
    proposed = {update.feature: update.max_version_level for update in request.feature_updates}
    counts = Counter(update.feature for update in request.feature_updates)
    records: list[AnyDataRecord] = []
    for update in request.feature_updates:
        try:
            if counts[update.feature] > 1:
                reject(ErrorCode.invalid_request, f"Feature {update.feature} is named more than once.")
            _check(context, update, proposed)
        except RequestRejected as refusal:
            return ControllerResult((), _refused(context, request, update.feature, refusal))
        if update.feature != KRAFT_VERSION and update.max_version_level != current_level(
            context, update.feature
        ):
            records.append(FeatureLevelRecord(name=update.feature, feature_level=update.max_version_level))
    if eligible_leaders.begins(records):
        records[:0] = eligible_leaders.first_records(context.image, context.config)
    named = request.feature_updates if context.api_version <= LAST_VERSION_WITH_RESULTS else ()
    results = tuple(UpdatableFeatureResult(feature=update.feature) for update in named)
    return ControllerResult(() if request.validate_only else records, UpdateFeaturesResponse(results=results))


def _refused(
    context: Context, request: UpdateFeaturesRequest, failed: str, refusal: RequestRejected
) -> UpdateFeaturesResponse:
    whole = f"The update failed for all features since the following feature had an error: {refusal.message}"
    if context.api_version > LAST_VERSION_WITH_RESULTS:
        return UpdateFeaturesResponse(error_code=refusal.code, error_message=whole)
    names = dict.fromkeys(update.feature for update in request.feature_updates)
    return UpdateFeaturesResponse(
        results=tuple(
            UpdatableFeatureResult(
                feature=name,
                error_code=refusal.code,
                error_message=refusal.message if name == failed else whole,
            )
            for name in names
        )
    )


def current_level(context: Context, feature: str) -> int:
    """The finalized level of any feature; 0: it is not used."""
    if feature == KRAFT_VERSION:
        return context.voters.kraft_version
    if feature == METADATA_VERSION:
        return context.metadata_version
    return context.image.features.level(feature)


def _check(context: Context, update: FeatureUpdateKey, proposed: Mapping[str, int]) -> None:
    """In Kafka's order."""
    name, level, now = (
        update.feature,
        update.max_version_level,
        current_level(context, update.feature),
    )
    if update.upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        _refuse(update, "The controller does not support the given upgrade type.")
    if level < 0:
        _refuse(update, "A feature version cannot be less than 0.")
    why = next(_reasons_against(context, name, level), None)
    if why is not None:
        _refuse(update, why)
    if level < now and update.upgrade_type == UPGRADE:
        _refuse(
            update,
            f"Can't downgrade the version of this feature, which is {now}, without setting the upgrade type to "
            "either safe or unsafe downgrade.",
        )
    if level > now and update.upgrade_type != UPGRADE:
        _refuse(update, f"Can't downgrade to a newer version: it is at {now}.")
    if name == METADATA_VERSION and level != now and is_migrating(context.image):
        _refuse(
            update,
            "It cannot be changed while the cluster is moved from ZooKeeper: finalize the migration first.",
        )
    if name == METADATA_VERSION and level < now:
        _check_downgrade(update, now)
    if name == KRAFT_VERSION and level != now:
        _refuse(
            update,
            f"The quorum is at {now}, which is decided when a cluster is formatted: voters that are kept in the log "
            "(1) or in configuration files (0).",
        )
    _check_dependencies(context, update, proposed)


def _check_downgrade(update: FeatureUpdateKey, now: int) -> None:
    if not metadata_changed_between(update.max_version_level, now):
        return
    losing = ", ".join(
        f"{known.name} ({known.brought})"
        for known in METADATA_VERSIONS.values()
        if known.changes_metadata and update.max_version_level < known.level <= now
    )
    if update.upgrade_type == UNSAFE_DOWNGRADE:
        _refuse(
            update,
            f"Unsafe metadata downgrade is not supported in this version; what would be lost: {losing}.",
        )
    _refuse(
        update,
        "Refusing to perform the requested downgrade because it might delete metadata information: "
        f"{losing}. Nodes cannot go back behind that.",
    )


def _check_dependencies(context: Context, update: FeatureUpdateKey, proposed: Mapping[str, int]) -> None:
    metadata_version = proposed.get(METADATA_VERSION, context.metadata_version)
    names = (
        {*context.image.features.levels, *proposed}
        if update.feature == METADATA_VERSION
        else {update.feature}
    )
    for name in sorted(names):
        level = proposed.get(name, current_level(context, name))
        for since, needed in NEEDED_METADATA_VERSION.get(name, ()):
            if level >= since and metadata_version < needed:
                _refuse(
                    update,
                    f"{name} {level} depends on metadata.version {describe_level(needed)} or newer.",
                )


def _reasons_against(context: Context, name: str, level: int) -> Iterator[str]:
    """Who could not live with this level, the first being reason enough."""
    supported = SUPPORTED.get(name)
    own = _UNSUPPORTED
    if supported is not None:
        own = VersionRange(min_supported_version=supported.lowest, max_supported_version=supported.highest)
    elif name not in context.image.features.levels:
        yield f"Local controller {context.config.node_id} does not support this feature."
    yield from _reason(level, f"Local controller {context.config.node_id}", own)
    for broker_id, broker in sorted(context.image.cluster.brokers.items()):
        yield from _reason(level, f"Broker {broker_id}", broker.features.get(name, _UNSUPPORTED))
    controllers = context.image.cluster.controllers
    for controller_id, controller in sorted(controllers.items()):
        if controller_id != context.config.node_id:
            yield from _reason(
                level, f"Controller {controller_id}", controller.features.get(name, _UNSUPPORTED)
            )
    silent = {NodeId(voter) for voter in context.voters.last.ids} - {*controllers, context.config.node_id}
    for controller_id in sorted(silent):
        yield f"Controller {controller_id} has not registered, and may not support this feature."


def _reason(level: int, who: str, supported: VersionRange) -> Iterator[str]:
    lowest, highest = supported.min_supported_version, supported.max_supported_version
    if lowest <= level <= highest:
        return
    if highest == 0:
        yield f"{who} does not support this feature."
    else:
        yield f"{who} only supports versions {lowest}-{highest}"


def _refuse(update: FeatureUpdateKey, why: str) -> NoReturn:
    reject(
        ErrorCode.invalid_update_version,
        f"Invalid update version {update.max_version_level} for feature {update.feature}. {why}",
    )
