"""The first records of a new leader, and the NoOp of an idle one (KIP-868, KIP-835)."""

from collections.abc import Sequence

from quorate.controller import eligible_leaders
from quorate.controller.context import Context
from quorate.controller.result import ControllerResult
from quorate.metadata import features
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyDataRecord,
    FeatureLevelRecord,
    MigrationState,
    NoOpRecord,
    ZkMigrationStateRecord,
)


def is_new(image: MetadataImage) -> bool:
    """Whether the log holds no metadata yet: every log begins with its metadata.version."""
    return not image.features.levels


def activate(
    context: Context, bootstrap: Sequence[AnyDataRecord], transaction_open: bool
) -> ControllerResult[None]:
    """Ends what a dead leader left open, and gives an empty log its first records.

    They fit into one batch (`storage format` sees to it), so that no transaction is needed to keep them together.
    What the log says about metadata.version always wins over what this node was formatted with.
    """
    records: list[AnyDataRecord] = []
    if transaction_open:
        records.append(AbortTransactionRecord(reason="The leader that began it is gone."))
    if is_new(context.image):
        first = bootstrap or features.format_records()
        records += first
        if eligible_leaders.begins(first):
            records += eligible_leaders.first_records(context.image, context.config)
        level = _metadata_version(first)
        if level >= features.MIGRATION_SINCE:
            state = MigrationState.PRE_MIGRATION if context.config.migration_enabled else MigrationState.NONE
            records.append(ZkMigrationStateRecord(zk_migration_state=state.value))
    return ControllerResult(records, None)


def no_op(context: Context) -> ControllerResult[None]:
    """Moves the high watermark while nobody asks for anything."""
    return ControllerResult([NoOpRecord(version=context.version_of(NoOpRecord))], None)


def _metadata_version(records: Sequence[AnyDataRecord]) -> int:
    for record in records:
        if isinstance(record, FeatureLevelRecord) and record.name == features.METADATA_VERSION:
            return record.feature_level
    return features.LOWEST_METADATA_VERSION
