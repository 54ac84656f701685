"""A world: nodes, clients and trouble, drawn from a seed; first it must stay safe, then, healed, it must get going.

Safety phase: anything may fail, the laws hold after every event. Liveness phase: everything heals, and within a bounded
time there is one leader whom all follow, a new write is acknowledged, and all nodes hold the same state.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from quorate.controller.events import BootstrapRead
from quorate.metadata.checks import InvariantViolated
from quorate.metadata.features import ELR_SINCE, ELR_VERSION, format_records
from quorate.metadata.ids import Endpoint, NodeId, Offset, ReplicaKey, random_uuid
from quorate.metadata.quorum.core import QuorumConfig
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.records import KRaftVersionRecord, VersionRange, Voter, VotersRecord
from tests.sim.brokers import SimBroker
from tests.sim.clients import Clients
from tests.sim.controllers import SimController, controller_config
from tests.sim.disk import Disk, SimLog
from tests.sim.ending import Ending, check_end
from tests.sim.images import ImageLaws
from tests.sim.laws import Laws
from tests.sim.machine import Machine, StateMachine, Values
from tests.sim.nemesis import Nemesis
from tests.sim.network import CLUSTER_ID, FIRST_PORT, LISTENER, Network
from tests.sim.node import SimNode
from tests.sim.options import WorldOptions, draw
from tests.sim.parcels import Parcels
from tests.sim.schedule import Schedule
from tests.sim.sessions import Sessions
from tests.sim.trace import Trace
from tests.sim.voter_changes import VoterChanges
from tests.sim.wires import Wires

FIRST_SPARE: Final = 150
FIRST_BROKER: Final = 200
LEADER_WITHIN_MS: Final = 10_000
"""After healing: a few election timeouts, for worlds whose messages take a third of a second each way."""
CONVERGED_WITHIN_MS: Final = 30_000
"""Long, for worlds where a snapshot travels 64 bytes at a time, each way taking up to 300 ms."""
_WITH_ELIGIBLE_LEADERS: Final = format_records(ELR_SINCE, {ELR_VERSION: 1})
_BACKLOG: Final = 10


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a world."""

    seed: int
    steps: int
    violation: str | None
    events: int
    simulated_ms: int
    acknowledged: int
    epoch: int
    leader_after_ms: int | None
    marks: Counter[str]
    trace_hash: str


class World:
    """See the module's docstring."""

    def __init__(
        self, seed: int, options: WorldOptions | None = None, show: Callable[[str], None] | None = None
    ) -> None:
        self.seed = seed
        self.options = draw(seed) if options is None else options
        self.rng = random.Random(seed)
        self.marks: Counter[str] = Counter()
        self.schedule = Schedule(self._fork(), shuffle_ties=self.options.shuffle_ties)
        self.trace = Trace(self.schedule, show)
        self.network = Network(self.options, self.schedule, self.trace, self._fork())
        self.values = Values()
        self.network.when_damaged = lambda: self.marks.update(["snapshot part damaged"])
        self.first_voters = [
            ReplicaKey(NodeId(number), random_uuid(self.rng)) for number in range(1, self.options.voters + 1)
        ]
        self._voters = _voters_record(self.first_voters)
        spares = [NodeId(FIRST_SPARE + index) for index in range(self.options.spares)]
        self._bootstrap = tuple(_endpoint(one) for one in (*(key.id for key in self.first_voters), *spares))
        self.laws = Laws(self.first_voters, self.network, self.marks)
        self.clients = Clients(self.schedule, self.values, self.marks, self._fork())
        self.sessions: Sessions | None = None
        if self.options.is_whole:
            self.sessions = self._whole_cluster()
        self.nodes = [self._voter(key) for key in self.first_voters]
        self.nodes += [self._observer(index) for index in range(self.options.observers)]
        self.nodes += [self._broker(index) for index in range(self.options.brokers)]
        self.nodes += [self._spare(index) for index in range(self.options.spares)]
        for node in self.nodes:
            self.network.nodes[FIRST_PORT + node.id] = node
            node.when_committed = self.clients.resolve
        self.nemesis = Nemesis(
            self.options,
            nodes=self.nodes,
            clients=self.clients,
            schedule=self.schedule,
            network=self.network,
            trace=self.trace,
            marks=self.marks,
            rng=self._fork(),
            wipe=self._wipe,
            members=self.laws.members,
            changes=VoterChanges(
                self.laws.members,
                self.nodes,
                network=self.network,
                trace=self.trace,
                marks=self.marks,
                rng=random.Random(f"changes of voters {seed}"),
            ),
        )
        self._slow_links()
        for node in self.nodes:
            self.schedule.after(self.rng.randint(0, 20), node.start_unless_up)
        if self.sessions is not None:
            self.sessions.begin([node for node in self.nodes if not node.is_broker], self.brokers)

    @property
    def brokers(self) -> list[SimNode]:
        return [node for node in self.nodes if node.is_broker] if self.options.is_whole else []

    def _slow_links(self) -> None:
        if not self.options.slow_links:
            return
        rng = random.Random(f"links {self.seed}")
        ids = [*(node.id for node in self.nodes), *self.network.clients]
        for link in itertools.permutations(ids, 2):
            if rng.random() < self.options.slow_links:
                self.network.slow[link] = rng.randint(*self.options.slow_link_ms)

    def _whole_cluster(self) -> Sessions:
        """What only worlds with controllers and brokers have."""
        self.laws.images = self.images = ImageLaws(self.marks, brokers_are_well=self.options.brokers_are_well)
        self.parcels = Parcels()
        self.wires = Wires(self.network, self.schedule, self.marks, self._fork())
        sessions = Sessions(
            self.options,
            images=self.images,
            wires=self.wires,
            schedule=self.schedule,
            trace=self.trace,
            marks=self.marks,
            rng=self._fork(),
        )
        self.network.clients = [client.id for client in sessions.clients]
        return sessions

    def _fork(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    # ---- building --------------------------------------------------------------------------------------

    def _voter(self, key: ReplicaKey) -> SimNode:
        return self._node(key, durable=True, formatted=True)

    def _observer(self, index: int) -> SimNode:
        key = ReplicaKey(NodeId(100 + index), random_uuid(self.rng))
        return self._node(key, durable=index % 2 == 1 or self.options.is_whole, formatted=False)

    def _spare(self, index: int) -> SimNode:
        key = ReplicaKey(NodeId(FIRST_SPARE + index), random_uuid(self.rng))
        return self._node(key, durable=True, formatted=False)

    def _broker(self, index: int) -> SimNode:
        key = ReplicaKey(NodeId(FIRST_BROKER + index), random_uuid(self.rng))
        return self._node(key, durable=False, formatted=False)

    def _machine(self, node: SimNode) -> StateMachine:
        if not self.options.is_whole:
            return Machine(self.values)
        if node.is_broker:
            return SimBroker(node, self.options, self.images, self.parcels, self.wires, self._fork())
        config = controller_config(node.id, self.options)
        made = SimController(node, config, self.images, self.parcels, self._fork())
        if self.options.eligible_leaders:
            made.active.step(BootstrapRead(_WITH_ELIGIBLE_LEADERS), 0)
        return made

    def _node(self, key: ReplicaKey, *, durable: bool, formatted: bool) -> SimNode:
        config = QuorumConfig(
            replica=key,
            cluster_id=CLUSTER_ID,
            bootstrap=tuple(one for one in self._bootstrap if one.port != FIRST_PORT + key.id),
            durable=durable,
            fetch_max_bytes=self.options.fetch_max_bytes,
            snapshot_max_bytes=self.options.snapshot_max_bytes,
        )
        return SimNode(
            config,
            self._disk(formatted),
            options=self.options,
            schedule=self.schedule,
            network=self.network,
            laws=self.laws,
            make_machine=self._machine,
            trace=self.trace,
            marks=self.marks,
            rng=self._fork(),
        )

    def _disk(self, formatted: bool) -> Disk:
        """As `storage format` leaves it: a voter's with the bootstrap snapshot 0-0, which names the voters."""
        log = SimLog()
        if formatted:
            log.format(KRaftVersionRecord(k_raft_version=1), self._voters)
        return Disk(ElectionState.primordial(), log)

    def _wipe(self, node: SimNode) -> None:
        """A new directory, formatted as that of a controller that will be added later: it knows no voters."""
        self.laws.on_disk_lost(node.key, node.disk)
        key = ReplicaKey(node.id, random_uuid(self.rng))
        node.config = attrs.evolve(node.config, replica=key)
        node.disk = self._disk(formatted=False)

    # ---- running ---------------------------------------------------------------------------------------

    def run(self, steps: int | None = None) -> Outcome:
        """Both phases."""
        steps = self.options.steps if steps is None else steps
        violation, leader_after = None, None
        try:
            while self.trace.events < steps and self.schedule.run_next():
                pass
            leader_after = self._get_going()
        except InvariantViolated as violated:
            violation = str(violated)
        except AssertionError as violated:
            violation = f"a check of the simulated disk: {violated}"
        except Exception as problem:  # noqa: BLE001  whatever escapes from a node would have ended its process
            violation = f"a node would have died of {problem!r}"
        return Outcome(
            seed=self.seed,
            steps=steps,
            violation=violation,
            events=self.trace.events,
            simulated_ms=self.schedule.now_ms,
            acknowledged=len(self.acknowledged),
            epoch=max(node.disk.election.epoch for node in self.nodes),
            leader_after_ms=leader_after,
            marks=self.marks,
            trace_hash=self.trace.hexdigest,
        )

    def run_until(self, when_ms: int) -> None:
        while (following := self.schedule.next_at()) is not None and following <= when_ms:
            self.schedule.run_next()
        self.schedule.now_ms = max(self.schedule.now_ms, when_ms)

    def run_while(
        self, condition: Callable[[], bool], within_ms: int, what: str, *, behind: bool = False
    ) -> int:
        """Runs as long as the condition holds; how many milliseconds that took.

        `behind`: what is waited for comes after all that is in the log already, which may take long where disks and
        messages are slow. Then the time counts from the last commit, up to a limit.
        """
        began = since = self.schedule.now_ms
        committed = self._committed()
        while condition():
            if (
                behind
                and self._committed() > committed
                and self.schedule.now_ms < began + _BACKLOG * within_ms
            ):
                committed, since = self._committed(), self.schedule.now_ms
            if not self.schedule.run_next() or self.schedule.now_ms > since + within_ms:
                raise InvariantViolated(f"after healing: no {what} within {within_ms} ms; {self._states()}")
        return self.schedule.now_ms - began

    def _committed(self) -> int:
        return max((node.core.high_watermark or 0 for node in self.nodes if node.up), default=0)

    def leader(self) -> SimNode | None:
        """The leader that the newest epoch has, if it is up and can commit."""
        leaders = [node for node in self.nodes if node.up and node.core.leads]
        newest = max(leaders, key=lambda node: node.core.election.epoch, default=None)
        epochs = [node.core.election.epoch for node in self.nodes if node.up]
        if newest is None or newest.core.election.epoch < max(epochs):
            return None
        return newest

    @property
    def acknowledged(self) -> Sequence[object]:
        """The writes of which a client knows that they happened."""
        return self.clients.acknowledged if self.sessions is None else self.sessions.acknowledged

    def _get_going(self) -> int:
        self.nemesis.quiet()
        took = self.run_while(lambda: self.leader() is None, LEADER_WITHIN_MS, "leader")
        if self.sessions is None:
            self._write_once()
        else:
            Ending(self, self.sessions).run()
        self.run_while(
            lambda: not self._converged(), CONVERGED_WITHIN_MS, "agreement of all nodes", behind=True
        )
        if self.sessions is not None:
            check_end(self, self.sessions)
        return took

    def _write_once(self) -> None:
        before = len(self.clients.acknowledged)

        def unanswered() -> bool:
            leader = self.leader()
            if leader is not None and leader.core.log.end.offset == (leader.core.high_watermark or 0):
                if len(self.clients.acknowledged) > before:
                    return False
                self.clients.propose(leader)
            return True

        self.run_while(unanswered, CONVERGED_WITHIN_MS, "acknowledged write", behind=True)

    def _converged(self) -> bool:
        """All have applied all that is committed. That equal offsets mean equal states is a law checked all along."""
        end: Offset = self.laws.committed_end
        alive = [node for node in self.nodes if node not in self.nemesis.dead]
        return all(node.up and node.machine.applied == end for node in alive)

    def _states(self) -> str:
        return "; ".join(
            f"{node.name} {node.core.role.name.value} epoch {node.core.election.epoch} log {node.core.log.end} "
            f"hw {node.core.high_watermark}"
            for node in self.nodes
            if node.up
        )


def _endpoint(node_id: NodeId) -> Endpoint:
    return Endpoint(LISTENER, "host", FIRST_PORT + node_id)


def _voters_record(keys: list[ReplicaKey]) -> VotersRecord:
    return VotersRecord(
        voters=tuple(
            Voter(
                voter_id=key.id,
                voter_directory_id=key.directory_id or random_uuid(random.Random(key.id)),
                endpoints=(_endpoint(key.id),),
                kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
            )
            for key in keys
        )
    )
