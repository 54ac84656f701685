"""A node's disk: the log and the quorum-state file. What a power cut leaves of them, `MemoryLog.crash` decides."""

from typing import TypeAlias

from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.quorum.election_state import ElectionState

SimLog: TypeAlias = MemoryLog
"""The log of a simulated node."""


class Disk:
    """What survives the process."""

    def __init__(self, election: ElectionState, log: SimLog) -> None:
        self.election = election
        self.log = log
