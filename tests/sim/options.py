"""What one world is like: drawn from its seed, so that no two seeds test the same mixture (swarm testing).

A fault that is always on hides the bugs that need its absence; so each world draws which faults it has at all, and how
often. The explicit worlds of other tests (gaps, flapping) write their options down.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs


@attrs.frozen(kw_only=True)
class WorldOptions:
    """Times are simulated milliseconds; `*_every_ms` is a mean, None: never."""

    voters: int = 3
    observers: int = 0
    """Half of them brokers, whose log is a cache (not flushed); half of them spare controllers."""
    shuffle_ties: bool = False
    """Things of one millisecond happen in any order, rather than in the order in which they were caused."""
    ordered: bool = True
    """Messages between two nodes arrive in order, as over one connection."""
    delay_ms: tuple[int, int] = (1, 1)
    loss: float = 0.0
    duplicate: float = 0.0
    flush_ms: tuple[int, int] = (1, 1)
    flush_notice_ms: tuple[int, int] = (0, 0)
    """How long a finished flush waits until the node hears of it: it may cut its log in between."""
    propose_every_ms: int | None = 50
    crash_every_ms: int | None = None
    crash_inside: float = 0.0
    """How many of the crashes come between two effects of one step."""
    crash_all: float = 0.0
    """How many of them take every node at once."""
    down_ms: tuple[int, int] = (10, 3000)
    reset_every_ms: int | None = None
    partition_every_ms: int | None = None
    partition_ms: tuple[int, int] = (100, 6000)
    pause_every_ms: int | None = None
    pause_ms: tuple[int, int] = (10, 5000)
    stop_every_ms: int | None = None
    """Orderly stops; the node comes back after `down_ms`."""
    resign_every_ms: int | None = None
    space_every_ms: int | None = None
    snapshot_every_ms: int | None = None
    wipe_every_ms: int | None = None
    """A voter loses its disk and comes back formatted anew: as somebody else. Never so many that no quorum is left."""
    fetch_max_bytes: int = 8 * 1024 * 1024
    snapshot_max_bytes: int = 1024 * 1024

    # ---- whole clusters only: real controllers, brokers, and clients that ask them
    brokers: int = 0
    """0: a bare quorum, whose state machine is a small one of the simulation's own (`machine`)."""
    clients: int = 0
    think_ms: int = 50
    """How long a client rests between two requests, on average."""
    topics: int = 3
    """How many names the clients quarrel about."""
    patience_ms: tuple[int, int] = (300, 8000)
    """How long a client waits for an answer."""
    heartbeat_ms: int = 2000
    session_ms: int = 9000
    idle_ms: int = 500
    """How often an idle controller writes a NoOp; 0: never."""
    laziness: float = 0.0
    """How often a node's turn comes some milliseconds after the event that asks for it."""
    broker_dies: bool = False
    """At the very end a broker dies for good, and the leader with it for a while: somebody must fence it."""

    eligible_leaders: bool = False
    """The cluster is formatted with eligible leader replicas (KIP-966): an ISR may be empty."""
    brokers_are_well: bool = False
    """Nothing befalls brokers or their connections, only controllers: so no broker may ever be fenced again."""

    # ---- who votes
    spares: int = 0
    """Controllers that do not vote at first."""
    members_every_ms: int | None = None
    """An operator asks for a change of the voters."""
    restore_every_ms: int | None = None
    """The disk of somebody who never voted is copied, or put back as it was."""

    # ---- disks, links and clocks
    slow_links: float = 0.0
    """How many directions of links are slower than the others: so one way may be slow and the other quick."""
    slow_link_ms: tuple[int, int] = (20, 400)
    drift: float = 0.0
    """Clocks run by up to this part too fast or too slow."""
    fsync_fails: float = 0.0
    """How many flushes fail: the node must end, and what was not flushed is gone."""
    fsync_stalls: float = 0.0
    """How many flushes take seconds."""
    full_disk_every_ms: int | None = None
    """An append finds no room: the node must end; it comes back when there is some."""
    rot_every_ms: int | None = None
    """A bit of one node's log flips while it is down, or it reads what lies elsewhere."""
    damage: float = 0.0
    """How many parts of snapshots arrive with a bit flipped."""

    @property
    def is_whole(self) -> bool:
        return self.brokers > 0

    @property
    def steps(self) -> int:
        """Events of the safety phase: in a whole cluster more happens before anything interesting does."""
        return 2500 if self.is_whole else 1200


def _maybe(rng: random.Random, chance: float, low: int, high: int) -> int | None:
    """A mean interval, or never; both ends of the scale are equally likely, not both ends of the range."""
    if rng.random() >= chance:
        return None
    return int(low * (high / low) ** rng.random())


def draw(seed: int) -> WorldOptions:
    """The world of a seed: half are bare quorums, half whole clusters."""
    return draw_whole(seed) if random.Random(f"kind {seed}").random() < 0.5 else draw_bare(seed)


def draw_bare(seed: int) -> WorldOptions:
    """A bare quorum; in half of the worlds disks and clocks are bad, and in some the voters change."""
    return _with_changes(_with_disks(draw_plain(seed), seed), seed)


def draw_plain(seed: int) -> WorldOptions:
    """A bare quorum on honest disks: most are mixtures, some are made for what mixtures seldom show."""
    rng = random.Random(f"world {seed}")
    return rng.choice([_mixture, _mixture, _mixture, _election_storm, _deposed_leaders])(rng)


def draw_whole(seed: int) -> WorldOptions:
    """A quorum with real controllers, brokers that follow it, and clients."""
    rng = random.Random(f"whole {seed}")
    if rng.random() < 0.15:
        return steady_brokers(seed)
    options = rng.choice([_mixture, _mixture, _deposed_leaders, _calm])(rng)
    heartbeat_ms, session_ms = rng.choice([(300, 2000), (500, 3000), (2000, 9000)])
    options = attrs.evolve(
        options,
        propose_every_ms=None,
        observers=rng.choice([0, 0, 0, 1]),
        brokers=rng.choice([1, 2, 2, 3]),
        clients=rng.choice([1, 2, 3, 4]),
        think_ms=int(5 * 60 ** rng.random()),
        topics=rng.choice([1, 2, 3, 5]),
        patience_ms=(200, rng.choice([500, 3000, 12000])),
        heartbeat_ms=heartbeat_ms,
        session_ms=session_ms,
        idle_ms=rng.choice([500, 2000, 5000]),
        laziness=rng.choice([0.0, 0.3, 0.9]),
        broker_dies=rng.random() < 0.4,
        fetch_max_bytes=rng.choice([300, 8 * 1024 * 1024]),
        snapshot_max_bytes=rng.choice([300, 1024 * 1024]),
    )
    return _with_changes(_with_disks(options, seed), seed)


def draw_changing(seed: int) -> WorldOptions:
    """The voters change all the time: for who wants to see just that."""
    options = _with_changes(draw_whole(seed) if seed % 3 == 0 else _with_disks(draw_plain(seed), seed), seed)
    rng = random.Random(f"changing {seed}")
    return attrs.evolve(
        options,
        voters=rng.choice([1, 2, 3, 3, 4, 5]),
        spares=rng.choice([1, 2, 3]),
        members_every_ms=int(50 * 20 ** rng.random()),
        brokers_are_well=False,  # a new leader may be one that they do not know yet
    )


def draw_eligible(seed: int) -> WorldOptions:
    """Whole clusters that keep eligible leader replicas, and whose brokers come and go."""
    options = draw_whole(seed)
    rng = random.Random(f"eligible {seed}")
    return attrs.evolve(
        options,
        eligible_leaders=True,
        brokers=rng.choice([2, 3]),
        crash_every_ms=options.crash_every_ms or rng.choice([500, 2000]),
        brokers_are_well=False,
    )


def steady_brokers(seed: int) -> WorldOptions:
    """Controllers die, stand still and hand over; brokers are well all the time, and must be left alone."""
    rng = random.Random(f"steady {seed}")
    return WorldOptions(
        voters=rng.choice([1, 3, 3, 5]),
        shuffle_ties=True,
        delay_ms=(1, rng.choice([1, 5, 20])),
        flush_ms=(0, rng.choice([1, 20])),
        brokers=rng.choice([1, 2, 3]),
        clients=rng.choice([1, 2]),
        think_ms=rng.choice([100, 1000]),
        heartbeat_ms=rng.choice([300, 2000]),
        session_ms=9000,  # shorter ones can be over before a broker has found the next controller
        idle_ms=rng.choice([500, 5000, 0]),
        laziness=rng.choice([0.0, 0.3]),
        crash_every_ms=_maybe(rng, 0.6, 2000, 10000),
        down_ms=(1, rng.choice([100, 3000, 20000])),
        pause_every_ms=_maybe(rng, 0.7, 2000, 10000),
        # A silence of the controller's own is forgiven in full once, then up to a session (DIVERGENCE.md): two of these
        # with no heartbeat between them must stay within that, or a broker that is well is rightly fenced.
        pause_ms=(10, rng.choice([2000, 7000])),
        stop_every_ms=_maybe(rng, 0.4, 4000, 20000),
        resign_every_ms=_maybe(rng, 0.4, 1000, 10000),
        snapshot_every_ms=_maybe(rng, 0.5, 500, 8000),
        brokers_are_well=True,
    )


def _with_disks(options: WorldOptions, seed: int) -> WorldOptions:
    """Bad disks and bad clocks, in some worlds; drawn by themselves, so that they leave the rest as it is."""
    rng = random.Random(f"disks {seed}")
    if rng.random() < 0.5:
        return options
    return attrs.evolve(
        options,
        drift=rng.choice([0.0, 0.02, 0.2]),
        fsync_fails=rng.choice([0.0, 0.0, 0.003]),
        fsync_stalls=rng.choice([0.0, 0.0, 0.01]),
        full_disk_every_ms=_maybe(rng, 0.2, 1000, 8000),
        rot_every_ms=_maybe(rng, 0.3, 1000, 8000),
        damage=rng.choice([0.0, 0.0, 0.1]),
    )


def _with_changes(options: WorldOptions, seed: int) -> WorldOptions:
    """Changes of who votes, links of different speeds, long pauses, disks put back: each in some worlds."""
    rng = random.Random(f"changes {seed}")
    if rng.random() < 0.35:
        options = attrs.evolve(
            options,
            spares=rng.choice([0, 1, 1, 2]),
            members_every_ms=int(100 * 40 ** rng.random()),
        )
    if rng.random() < 0.2:
        options = attrs.evolve(
            options, slow_links=rng.choice([0.1, 0.3]), slow_link_ms=(1, rng.choice([50, 400, 2000]))
        )
    if options.pause_every_ms is not None and rng.random() < 0.3:
        options = attrs.evolve(options, pause_ms=(3000, rng.choice([10_000, 40_000])))
    return attrs.evolve(options, restore_every_ms=_maybe(rng, 0.2, 300, 4000))


def _calm(rng: random.Random) -> WorldOptions:
    """Little goes wrong, and that seldom: sessions live long enough to be lost by mistake."""
    return WorldOptions(
        voters=rng.choice([1, 3, 3, 5]),
        shuffle_ties=True,
        delay_ms=(1, rng.choice([1, 5, 20])),
        flush_ms=(0, rng.choice([1, 5, 50])),
        crash_every_ms=_maybe(rng, 0.7, 4000, 20000),
        down_ms=(1, rng.choice([20, 500, 15000])),
        partition_every_ms=_maybe(rng, 0.3, 4000, 20000),
        pause_every_ms=_maybe(rng, 0.3, 4000, 20000),
        pause_ms=(10, rng.choice([5000, 30000])),
        stop_every_ms=_maybe(rng, 0.4, 4000, 20000),
        resign_every_ms=_maybe(rng, 0.3, 2000, 20000),
        snapshot_every_ms=_maybe(rng, 0.7, 500, 8000),
    )


def election_storm(seed: int) -> WorldOptions:
    """Of the worlds of that kind, the one of this seed."""
    return _election_storm(random.Random(f"storm {seed}"))


def deposed_leaders(seed: int) -> WorldOptions:
    """Of the worlds of that kind, the one of this seed."""
    return _deposed_leaders(random.Random(f"deposed {seed}"))


def _mixture(rng: random.Random) -> WorldOptions:
    slow = rng.choice([1, 2, 5, 20, 80, 300])
    return WorldOptions(
        voters=rng.choice([1, 2, 3, 3, 3, 3, 3, 4, 5, 5]),
        observers=rng.choice([0, 0, 1, 2]),
        shuffle_ties=rng.random() < 0.5,
        ordered=rng.random() < 0.6,
        delay_ms=(1, slow),
        loss=rng.choice([0.0, 0.0, 0.01, 0.05, 0.2]),
        duplicate=rng.choice([0.0, 0.0, 0.05, 0.2]),
        flush_ms=(0, rng.choice([1, 5, 50, 400])),
        flush_notice_ms=(0, rng.choice([0, 0, 5, 50])),
        propose_every_ms=int(10 * 40 ** rng.random()),
        crash_every_ms=_maybe(rng, 0.8, 300, 8000),
        crash_inside=rng.choice([0.0, 0.3, 0.8]),
        crash_all=rng.choice([0.0, 0.0, 0.1, 0.3]),
        down_ms=(1, rng.choice([20, 500, 4000])),
        reset_every_ms=_maybe(rng, 0.4, 50, 3000),
        partition_every_ms=_maybe(rng, 0.6, 500, 8000),
        partition_ms=(50, rng.choice([500, 3000, 9000])),
        pause_every_ms=_maybe(rng, 0.4, 500, 8000),
        stop_every_ms=_maybe(rng, 0.2, 2000, 8000),
        resign_every_ms=_maybe(rng, 0.2, 1000, 8000),
        space_every_ms=_maybe(rng, 0.1, 1000, 8000),
        snapshot_every_ms=_maybe(rng, 0.6, 200, 4000),
        wipe_every_ms=_maybe(rng, 0.1, 3000, 8000),
        fetch_max_bytes=rng.choice([1, 300, 8 * 1024 * 1024]),
        snapshot_max_bytes=rng.choice([64, 300, 1024 * 1024]),
    )


def _election_storm(rng: random.Random) -> WorldOptions:
    """Messages take longer than the courtesies between candidates: several stand at once, and die while they vote."""
    return WorldOptions(
        voters=rng.choice([3, 4, 5, 5]),
        shuffle_ties=True,
        ordered=rng.random() < 0.5,
        delay_ms=(1, rng.choice([20, 100, 300])),
        loss=rng.choice([0.0, 0.05]),
        duplicate=rng.choice([0.0, 0.2]),
        flush_ms=(0, rng.choice([1, 20])),
        propose_every_ms=rng.choice([50, 200]),
        crash_every_ms=int(100 * 10 ** rng.random()),
        crash_inside=rng.choice([0.5, 0.9]),
        crash_all=rng.choice([0.0, 0.2]),
        down_ms=(1, rng.choice([10, 100, 1000])),
        resign_every_ms=_maybe(rng, 0.5, 200, 2000),
        partition_every_ms=_maybe(rng, 0.5, 300, 2000),
        partition_ms=(50, 2000),
        snapshot_every_ms=_maybe(rng, 0.3, 200, 4000),
        wipe_every_ms=_maybe(rng, 0.2, 1000, 4000),
    )


def _deposed_leaders(rng: random.Random) -> WorldOptions:
    """Leaders are cut off with long unflushed tails, replaced, and come back: logs part and have to be cut."""
    return WorldOptions(
        voters=rng.choice([3, 3, 4, 5]),
        observers=rng.choice([0, 1]),
        shuffle_ties=rng.random() < 0.5,
        delay_ms=(1, rng.choice([1, 10, 50])),
        flush_ms=(0, rng.choice([20, 200, 600])),
        flush_notice_ms=(0, rng.choice([5, 50, 200])),
        propose_every_ms=rng.choice([10, 30]),
        crash_every_ms=_maybe(rng, 0.6, 300, 3000),
        crash_inside=rng.choice([0.0, 0.5]),
        down_ms=(1, rng.choice([20, 500, 2000])),
        resign_every_ms=_maybe(rng, 0.6, 100, 1000),
        partition_every_ms=_maybe(rng, 0.8, 200, 2000),
        partition_ms=rng.choice([(50, 500), (50, 4000), (3000, 6000)]),
        pause_every_ms=_maybe(rng, 0.3, 500, 4000),
        snapshot_every_ms=_maybe(rng, 0.7, 50, 1000),
        fetch_max_bytes=rng.choice([300, 8 * 1024 * 1024]),
        snapshot_max_bytes=rng.choice([300, 1024 * 1024]),
    )


WITHOUT: Final[Mapping[str, Mapping[str, Any]]] = {
    "crash": {"crash_every_ms": None},
    "crash-inside": {"crash_inside": 0.0},
    "crash-all": {"crash_all": 0.0},
    "reset": {"reset_every_ms": None},
    "partition": {"partition_every_ms": None},
    "pause": {"pause_every_ms": None},
    "stop": {"stop_every_ms": None},
    "resign": {"resign_every_ms": None},
    "space": {"space_every_ms": None},
    "snapshot": {"snapshot_every_ms": None},
    "wipe": {"wipe_every_ms": None},
    "restore": {"restore_every_ms": None},
    "members": {"members_every_ms": None},
    "loss": {"loss": 0.0},
    "duplicate": {"duplicate": 0.0},
    "damage": {"damage": 0.0},
    "slow-links": {"slow_links": 0.0},
    "reordering": {"ordered": True},
    "shuffle": {"shuffle_ties": False},
    "drift": {"drift": 0.0},
    "fsync-fails": {"fsync_fails": 0.0},
    "fsync-stalls": {"fsync_stalls": 0.0},
    "flush-notice": {"flush_notice_ms": (0, 0)},
    "full-disk": {"full_disk_every_ms": None},
    "rot": {"rot_every_ms": None},
    "laziness": {"laziness": 0.0},
    "broker-dies": {"broker_dies": False},
}
"""The kinds of trouble by name, and what a world without one has instead."""


def without(options: WorldOptions, name: str) -> WorldOptions:
    return attrs.evolve(options, **WITHOUT[name])


def with_value(options: WorldOptions, name: str, value: Any) -> WorldOptions:
    """With one option set, by its name.

    Raises:
        ValueError: there is no such option, or it is no such kind of value.
    """
    known = {field.name for field in attrs.fields(WorldOptions)}
    if name not in known:
        raise ValueError(f"no option {name!r}; there are {', '.join(sorted(known))}")
    before = getattr(WorldOptions(), name)
    never = value is None and name.endswith("_every_ms")
    if not never and not isinstance(value, int if before is None else type(before)):
        raise ValueError(f"{name} is like {before!r}, not {value!r}")
    return attrs.evolve(options, **{name: value})


def difference(drawn: WorldOptions, options: WorldOptions) -> str:
    """What has to stand on the command line to get from one to the other; empty if nothing."""
    left_out = [
        name for name in WITHOUT if without(drawn, name) != drawn and without(options, name) == options
    ]
    reached = drawn
    for name in left_out:
        reached = without(reached, name)
    words = [f"--without {','.join(left_out)}"] if left_out else []
    for field in attrs.fields(WorldOptions):
        value = getattr(options, field.name)
        if value != getattr(reached, field.name):
            words.append(f"--set {field.name}={str(value).replace(' ', '')}")
    return " ".join(words)


KINDS: Final[Mapping[str, Callable[[int], WorldOptions]]] = {
    "any": draw,
    "plain": draw_plain,
    "bare": draw_bare,
    "whole": draw_whole,
    "changing": draw_changing,
    "eligible": draw_eligible,
    "steady": steady_brokers,
}
"""What a seed may mean; "any" unless said otherwise."""
