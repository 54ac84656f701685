"""What a core has done so far, as plain numbers that decide nothing: whoever publishes metrics reads them."""

from collections import Counter

import attrs

from quorate.metadata.quorum.transitions import RoleName, Why


@attrs.define(eq=False)
class Tally:
    """Since the process started."""

    role_changes: Counter[tuple[RoleName, Why]] = attrs.Factory(Counter)
    """By the role that was left, and why."""
    batches_appended: int = 0
    """To this replica's log, its own and fetched ones."""
    records_appended: int = 0
