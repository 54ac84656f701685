"""The quorum-state file: epoch, leader and vote, replaced whole before a vote leaves (KIP-595).

One line of JSON with its own crc. On a voter a file that is missing or damaged is a refusal, never epoch 0: a replica
that has forgotten its vote would vote twice.
"""

import json
from pathlib import Path
from typing import Any, Final

from crc32c import crc32c

from quorate.metadata.ids import Epoch, NodeId, ReplicaKey, uuid_from_text, uuid_to_text
from quorate.metadata.log.files import Files, failing_storage, read_whole, replace_file
from quorate.metadata.log.interface import StorageFailed
from quorate.metadata.log.layout import QUORUM_STATE
from quorate.metadata.log.refusals import REPLACE, QuorumStateRefused
from quorate.metadata.log.space import Reserve
from quorate.metadata.quorum.election_state import ElectionState

DATA_VERSION: Final = 2
"""Kafka writes 0 and 1; ours has a crc and keeps leader and vote together."""


class QuorumStateFile:
    """The file of one metadata directory. `reserve`: what a vote may be written from when the disk is full."""

    def __init__(self, files: Files, directory: Path, reserve: Reserve | None = None) -> None:
        self._files = files
        self._path = directory / QUORUM_STATE
        self._reserve = reserve

    def write(self, election: ElectionState) -> None:
        """Replaces it, durably, before returning.

        Raises:
            StorageFailed: the disk can no longer be trusted.
        """
        content = _encode(election)
        with failing_storage("Writing the vote", self._path):
            if self._reserve is None:
                replace_file(self._files, self._path, content)
            else:
                self._reserve.lean_on(lambda: replace_file(self._files, self._path, content))

    def read(self) -> ElectionState:
        """What this replica knew last.

        Raises:
            QuorumStateRefused: missing, damaged, or of another format.
            StorageFailed: the disk does not answer.
        """
        try:
            with failing_storage("Reading the vote", self._path):
                content = read_whole(self._files, self._path)
        except StorageFailed as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise self._refused(
                    "is missing", "the directory is formatted, so the file was there"
                ) from None
            raise
        try:
            return _decode(content)
        except ValueError as error:
            raise self._refused("is damaged", str(error)) from None

    def _refused(self, what: str, why: str) -> QuorumStateRefused:
        return QuorumStateRefused(
            f"The file {QUORUM_STATE} {what}: this replica no longer knows whom it voted for",
            where=self._path,
            why=f"{why}. Starting without it could mean voting twice in one epoch",
            remedy=REPLACE,
        )


def check_against_log(election: ElectionState, last_epoch: Epoch, path: Path) -> None:
    """The election is persisted before anything is appended, so the log can never know a later epoch.

    Raises:
        QuorumStateRefused: it does: the file is an old copy.
    """
    if election.epoch < last_epoch:
        raise QuorumStateRefused(
            f"The file {QUORUM_STATE} is older than the log beside it",
            where=path / QUORUM_STATE,
            why=f"it knows epoch {election.epoch}, the log has records of epoch {last_epoch}: it was restored from a "
            "copy, and votes given since are forgotten",
            remedy=REPLACE,
        )


def _encode(election: ElectionState) -> bytes:
    voted = election.voted
    directory = voted.directory_id if voted is not None else None
    fields = {
        "data_version": DATA_VERSION,
        "leaderEpoch": election.epoch,
        "leaderId": -1 if election.leader_id is None else election.leader_id,
        "votedId": -1 if voted is None else voted.id,
        "votedDirectoryId": None if directory is None else uuid_to_text(directory),
    }
    if election.was_voter:
        fields["wasVoter"] = True
    return json.dumps({**fields, "crc32c": _crc(fields)}, separators=(",", ":")).encode() + b"\n"


def _crc(fields: dict[str, Any]) -> int:
    return crc32c(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def _decode(content: bytes) -> ElectionState:
    """Raises: ValueError, with a text that says what is wrong."""
    try:
        fields = json.loads(content)
    except ValueError:
        raise ValueError("its content is no JSON") from None
    if not isinstance(fields, dict) or fields.get("data_version") != DATA_VERSION:
        raise ValueError(f"it is not of data_version {DATA_VERSION}")
    crc = fields.pop("crc32c", None)
    if crc != _crc(fields):
        raise ValueError("its content does not fit its crc")
    leader, voted, directory = fields["leaderId"], fields["votedId"], fields["votedDirectoryId"]
    key = None
    if voted >= 0:
        key = ReplicaKey(NodeId(voted), None if directory is None else uuid_from_text(directory))
    return ElectionState(
        Epoch(fields["leaderEpoch"]),
        NodeId(leader) if leader >= 0 else None,
        key,
        was_voter=fields.get("wasVoter", False),
    )
