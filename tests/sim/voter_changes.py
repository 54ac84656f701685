"""The operator of a quorum: adds spare controllers to the voters, removes voters, replaces those whose disk is lost.

Asks whoever leads, now and then somebody else; sometimes for a second change while the first one is under way. Careful
in one thing only: no change that could leave a quorum without a majority of good disks.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Endpoint, ReplicaKey
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    RemoveVoterRequest,
    RemoveVoterResponse,
    Request,
    Response,
)
from tests.sim.members import Members, Wish
from tests.sim.network import FIRST_PORT, LISTENER, Network
from tests.sim.node import SimNode
from tests.sim.trace import Trace

MOST_VOTERS: Final = 6
MOST_AT_ONCE: Final = 2


class VoterChanges:
    """See the module's docstring."""

    def __init__(
        self,
        members: Members,
        nodes: Sequence[SimNode],
        *,
        network: Network,
        trace: Trace,
        marks: Counter[str],
        rng: random.Random,
    ) -> None:
        self._members, self._network, self._trace = members, network, trace
        self._marks, self._rng = marks, rng
        self._nodes = [node for node in nodes if node.config.durable]
        """A broker never votes."""

    def ask(self) -> None:
        pending = len(self._members.pending())
        if pending >= MOST_AT_ONCE or (pending and self._rng.random() < 0.7):
            return
        target, change = self._somebody(), self._change()
        if target is None or change is None:
            return
        key, joins = change
        wish = Wish(key, joins, target, target.life)
        if not self._members.can_ask(wish, self._nodes):
            return
        self._members.wishes.append(wish)
        self._trace.line(target.name, f"is asked to {'add' if joins else 'remove'} voter {key}")
        self._network.ask(target, self._request(wish), lambda response: self._on_response(wish, response))

    def _somebody(self) -> SimNode | None:
        """The leader, most of the time; one that only believes that it leads is as good."""
        up = [node for node in self._nodes if node.up]
        leaders = [node for node in up if node.core.leads]
        if leaders and self._rng.random() < 0.9:
            return self._rng.choice(leaders)
        return self._rng.choice(up) if up else None

    def _change(self) -> tuple[ReplicaKey, bool] | None:
        voters = sorted(self._members.voters, key=lambda key: (key.id, str(key.directory_id)))
        lost = [key for key in voters if key in self._members.lost]
        if lost and self._rng.random() < 0.7:
            return self._rng.choice(lost), False
        taken = {key.id for key in voters}
        spares = [node.key for node in self._nodes if node.id not in taken]
        if spares and len(voters) < MOST_VOTERS and self._rng.random() < (0.8 if len(voters) < 3 else 0.5):
            return self._rng.choice(spares), True
        return (self._rng.choice(voters), False) if len(voters) > 1 else None

    def _request(self, wish: Wish) -> Request:
        timeout_ms = self._rng.choice([0, 500, 5000])
        if not wish.joins:
            return RemoveVoterRequest(voter=wish.key, timeout_ms=timeout_ms)
        return AddVoterRequest(
            voter=wish.key,
            endpoints=(Endpoint(LISTENER, "host", FIRST_PORT + wish.key.id),),
            timeout_ms=timeout_ms,
            ack_when_committed=self._rng.random() < 0.8,
        )

    def _on_response(self, wish: Wish, response: Response) -> None:
        if wish in self._members.wishes:
            self._members.wishes.remove(wish)
        if isinstance(response, AddVoterResponse | RemoveVoterResponse):
            done = response.error is ErrorCode.none
            self._marks[f"change of voters {'granted' if done else 'refused'}"] += 1
            self._trace.line(
                wish.node.name, f"answers for {wish.key}: {response.message or response.error.name}"
            )
