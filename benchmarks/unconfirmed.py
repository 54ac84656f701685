"""The `quorate` command with reads that nobody confirms: what the read index costs is the difference. For benchmarks
only, since such a leader denies what its successor has acknowledged."""

import sys
from collections.abc import Callable
from unittest.mock import patch

from quorate.admin.entry import main
from quorate.metadata.node import RaftNode


def _at_once(node: RaftNode, tell: Callable[[bool], None]) -> None:
    tell(node.core.leads)


if __name__ == "__main__":
    with patch.object(RaftNode, "confirm_read", _at_once):
        sys.exit(main())
