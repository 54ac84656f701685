"""The controller's office in ZooKeeper mode: stands for it, holds it, gives it up (shell).

    in the queue ──first──▶ claim ──▶ read the tree ──▶ repair ──▶ serve ──▶ give up ──▶ in the queue
                              ▲                            ▲           │
                    /controller is another's        something there is not as expected

Implements `metadata.zookeeper.office.ControllerOffice`. Whatever is written begins with the fence of the claim, so a
holder that was paused or cut off while another one claimed can write nothing. Whatever is answered waits for a round
trip to ZooKeeper that began after the question came: it could tell nothing that is not true any more.
"""

import random
import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Set
from functools import partial
from typing import Any, Final

import attrs
import structlog
import trio

from quorate.controller.counters import Counters
from quorate.controller.faults import Situation
from quorate.controller.metrics import office_samples
from quorate.controller.policies import Policies
from quorate.controller.requests import PendingRequest
from quorate.controller.zookeeper_claim import Claim, Taken, claim_office, give_up_office, holds_still
from quorate.controller.zookeeper_config import ZooKeeperControllerConfig
from quorate.controller.zookeeper_core import Turn, ZooKeeperCore
from quorate.controller.zookeeper_loading import Loaded, is_left_out, load
from quorate.controller.zookeeper_news import News
from quorate.controller.zookeeper_server import ZooKeeperOfficeServer
from quorate.controller.zookeeper_writes import KnownZnodes, Unwritable, check_room, multis
from quorate.metadata.calls import Call, open_envelope
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ConfigKey
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.replay import ReplayError
from quorate.metadata.metrics.declared import Sample
from quorate.metadata.node import now_ms, wall_ms
from quorate.metadata.slow_reads import SlowReads
from quorate.metadata.zookeeper.candidates import Candidacy, Leading
from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.kafka_znodes.forms import FormError
from quorate.metadata.zookeeper.kafka_znodes.layout import WriteOptions
from quorate.metadata.zookeeper.live_tree import read_tree
from quorate.metadata.zookeeper.znodes import MultiFailed, SessionState, ZooKeeperError

CANDIDATES: Final = "/quorate/candidates"
"""Where brokers queue for the office; Kafka's own have no such queue and race for `/controller`."""
LOOK_AGAIN_S: Final = 5.0
"""A holder's end that no watch told of is noticed after so long."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Between claims, and between beginnings within one, that come to nothing."""
READ_APART: Final = 20_000
"""A tree of more znodes is made an image of in a thread: in the loop that would take seconds."""
_GIVE_UP_S: Final = 2.0

_log = structlog.get_logger("controller")


@attrs.frozen
class _End:
    """Why a beginning came to its end."""

    why: str
    resigned: bool
    """The office is lost, or must be; else it is held, and what is in ZooKeeper is to be read anew."""


@attrs.define
class _Holding:
    """The office while it is held, from one reading of the tree on."""

    claim: Claim
    core: ZooKeeperCore
    known: KnownZnodes
    options: WriteOptions
    scope: trio.CancelScope
    wanted: trio.Event = attrs.Factory(trio.Event)
    """Set when there is something for a turn to do."""
    asked: trio.Event = attrs.Factory(trio.Event)
    """Set when a read waits."""
    reads: deque[Call] = attrs.Factory(deque)
    ended: _End | None = None

    @property
    def is_over(self) -> bool:
        return self.ended is not None

    def end(self, why: str, *, resigned: bool) -> None:
        """The first word counts."""
        if self.ended is None:
            self.ended = _End(why, resigned)
        self.scope.cancel()


class ZooKeeperMode:
    """One broker's part in the office."""

    def __init__(
        self,
        config: ZooKeeperControllerConfig,
        zookeeper: ZooKeeper,
        cluster_id: str,
        *,
        rng: random.Random,
        policies: Policies,
        own_keys: Mapping[str, ConfigKey],
    ) -> None:
        self._config = config
        self._zookeeper = zookeeper
        self._cluster_id = cluster_id
        self._rng = rng
        self._policies = policies
        self._slow = SlowReads()
        self._counters = Counters()
        self.readings = 0
        """How often the tree was read: at each claim, and when others have written."""
        self._holding: _Holding | None = None
        self._standing = trio.CancelScope()
        self._leading: Leading | None = None
        self._place_changed = trio.Event()
        self._taken_because = ""
        self._leading_scope = trio.CancelScope()
        self._done = trio.Event()
        self._done.set()
        self._server = ZooKeeperOfficeServer(
            config=config, cluster_id=cluster_id, image=self.image, slow=self._slow, own_keys=own_keys
        )

    # ---- ControllerOffice --------------------------------------------------------------------------------

    @property
    def serves(self) -> Set[int]:
        return self._server.serves

    @property
    def holds(self) -> bool:
        """Whether requests are taken."""
        return self._held is not None

    @property
    def _held(self) -> "_Holding | None":
        holding = self._holding
        return None if holding is None or holding.is_over else holding

    def samples(self) -> Iterable[Sample]:
        held = self._held
        return office_samples(
            holds=held is not None,
            queue_length=0 if held is None else held.core.queue_length,
            counters=self._counters,
        )

    def image(self) -> MetadataImage | None:
        """What answers rest on; None while the office is not held."""
        held = self._held
        return None if held is None else held.core.image

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled or left."""
        self._zookeeper.on_state(self._session_changed)
        self._done = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._slow.run)
                task_status.started()
                with self._standing:
                    async with trio.open_nursery() as standing:
                        name = str(self._config.node_id).encode()
                        candidacy = Candidacy(self._zookeeper, CANDIDATES, self._told, data=name)
                        standing.start_soon(candidacy.run)
                        standing.start_soon(self._lead_when_first)
                nursery.cancel_scope.cancel()
        finally:
            self._done.set()

    async def leave(self) -> None:
        self._standing.cancel()
        await self._done.wait()

    def handle(self, envelope: Call, *, own: bool = False) -> None:
        if not own and not self._server.gate.admits(envelope):
            return
        held = self._held
        if held is None:
            envelope.reject(ErrorCode.not_controller)
            return
        call = open_envelope(envelope, self.serves, lambda: -1)
        if call is None or not self._server.gate.admits(call):
            return
        if self._server.is_change(call):
            self._submit(self._server.pending(call))
        else:
            held.reads.append(call)
            held.asked.set()

    # ---- standing, claiming ------------------------------------------------------------------------------

    def _told(self, leading: Leading | None) -> None:
        """News of this broker's place in the queue."""
        self._leading = leading
        self._place_changed.set()
        if leading is None:
            self._leading_scope.cancel()

    async def _lead_when_first(self) -> None:
        while True:
            while self._leading is None:
                self._place_changed = trio.Event()
                await self._place_changed.wait()
            with trio.CancelScope() as self._leading_scope:
                await self._claim_while_first()

    async def _claim_while_first(self) -> None:
        """Until cancelled: another session is first now, or this one may be over."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                held_well = await self._claim_and_hold()
            except (ZooKeeperError, FormError, ReplayError) as error:
                _log.warning("the controller's office cannot be held", why=str(error))
                held_well = False
            pause_s = FIRST_PAUSE_S if held_well else min(2 * pause_s, LONGEST_PAUSE_S)
            await trio.sleep(pause_s)

    async def _claim_and_hold(self) -> bool:
        """Whether it was held at all."""
        changed = trio.Event()
        claim = await claim_office(self._zookeeper, self._config.node_id, wall_ms(), lambda _: changed.set())
        if isinstance(claim, Taken):
            if claim.why != self._taken_because:
                self._taken_because = claim.why
                _log.info("first in the queue, and the controller's office is taken", why=claim.why)
            with trio.move_on_after(LOOK_AGAIN_S):
                await changed.wait()
            return True
        self._taken_because = ""
        try:
            return await self._hold(claim)
        finally:
            with trio.move_on_after(_GIVE_UP_S, shield=True):
                await self._give_up(claim)

    async def _give_up(self, claim: Claim) -> None:
        if self._zookeeper.state is not SessionState.CONNECTED:
            return
        try:
            await give_up_office(self._zookeeper, claim)
        except ZooKeeperError as error:
            _log.info("the controller's office ends with the session", why=str(error))

    async def _hold(self, claim: Claim) -> bool:
        """From reading to reading of the tree, until the office is lost."""
        former: ZooKeeperCore | None = None
        pause_s = FIRST_PAUSE_S
        served = False
        try:
            while True:
                core, loaded = await self._begin(claim)
                if former is not None:
                    former.hand_over(core)
                former = core
                began_s = trio.current_time()
                end = await self._serve(claim, core, loaded)
                served = True
                if end.resigned:
                    _log.info("resigned as the controller", epoch=claim.epoch, why=end.why)
                    return served
                _log.info("reading the metadata anew", epoch=claim.epoch, why=end.why)
                calm = trio.current_time() - began_s > LONGEST_PAUSE_S
                pause_s = FIRST_PAUSE_S if calm else min(2 * pause_s, LONGEST_PAUSE_S)
                await trio.sleep(pause_s)
        finally:
            for answer in () if former is None else former.leave():
                answer.token.answer(answer.response)

    async def _begin(self, claim: Claim) -> tuple[ZooKeeperCore, Loaded]:
        """Reads the tree, and writes what dead controllers and tools have left to be written.

        Raises:
            ZooKeeperError, ReplayError: there is nothing to begin with.
        """
        began_s = trio.current_time()
        self.readings += 1
        tree = await read_tree(self._zookeeper)
        loading = partial(
            load,
            tree,
            metadata_version=self._config.metadata_version,
            epoch=claim.epoch,
            wall_ms=wall_ms(),
            delete_topics=self._config.delete_topic_enable,
            rng=self._rng,
            secrets=tuple(
                one
                for one in (self._config.password_encoder_secret, self._config.password_encoder_old_secret)
                if one is not None
            ),
        )
        if len(tree) > READ_APART:
            loaded = await trio.to_thread.run_sync(loading)
        else:
            loaded = loading()
        _tell_troubles(loaded)
        for ops in loaded.repairs:
            await self._zookeeper.multi([claim.fence, *ops])
        image = loaded.image
        _log.info(
            "controller in ZooKeeper mode",
            node=self._config.node_id,
            epoch=claim.epoch,
            topics=image.topics.topic_count,
            partitions=image.topics.partition_count,
            brokers=len(image.cluster.brokers),
            read_in_s=round(trio.current_time() - began_s, 3),
        )
        core = ZooKeeperCore(
            config=self._config,
            cluster_id=self._cluster_id,
            rng=self._rng,
            image=image,
            epoch=claim.epoch,
            now_ms=now_ms(),
            policies=self._policies,
            counters=self._counters,
        )
        return core, loaded

    def _session_changed(self, state: SessionState) -> None:
        if state is not SessionState.CONNECTED and self._holding is not None:
            self._holding.end(f"the session with ZooKeeper is {state.value}", resigned=True)

    # ---- serving -----------------------------------------------------------------------------------------

    async def _serve(self, claim: Claim, core: ZooKeeperCore, loaded: Loaded) -> _End:
        scope = trio.CancelScope()
        holding = _Holding(claim, core, loaded.known, self._write_options(claim), scope)
        if self._zookeeper.state is not SessionState.CONNECTED:
            return _End("the session with ZooKeeper was lost", resigned=True)
        news = News(
            self._zookeeper,
            image=lambda: core.image,
            children=loaded.children,
            level=self._config.metadata_version,
            brokers_are=partial(self._brokers_are, holding),
            begin_anew=lambda why: holding.end(why, resigned=False),
            lost=lambda why: holding.end(why, resigned=True),
        )
        self._holding = holding
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(news.run, claim)
                    nursery.start_soon(self._answer_reads, holding)
                    nursery.start_soon(self._take_turns, holding, news)
        finally:
            self._holding = None
            for call in holding.reads:
                call.reject(ErrorCode.not_controller)
        return holding.ended or _End("it was ended", resigned=True)

    def _brokers_are(self, holding: _Holding, live: Mapping[Any, Any]) -> None:
        holding.core.brokers_are(live)
        holding.wanted.set()

    def _submit(self, pending: PendingRequest) -> None:
        holding = self._held
        if holding is None:
            answer = pending.refuse_for(Situation.NOT_ACTIVE)
        else:
            refused = holding.core.submit(pending)
            holding.wanted.set()
            if refused is None:
                return
            answer = refused
        answer.token.answer(answer.response)

    async def _take_turns(self, holding: _Holding, news: News) -> None:
        """Until this holding ends: one turn after the other, and between two a look at what others have done."""
        core = holding.core
        while True:
            holding.wanted = trio.Event()
            try:
                await news.look()
            except ZooKeeperError as error:
                holding.end(f"ZooKeeper does not tell what happens: {error}", resigned=True)
            if holding.is_over:
                return
            turn = core.turn(now_ms(), wall_ms())
            if turn is not None:
                _tell(turn)
                await self._write(holding, turn, news)
                continue
            wait_s = max(0, core.next_deadline_ms(now_ms()) - now_ms() + 0.5) / 1000
            with trio.move_on_after(min(wait_s, news.due_in_s())):
                await news.or_wanted(holding.wanted)

    async def _write(self, holding: _Holding, turn: Turn, news: News) -> None:
        """Writes a turn and lets its answers leave, or ends this holding."""
        claim = holding.claim
        try:
            check_room(turn.steps, holding.known)
            planned = [*multis(turn.steps, holding.known, holding.options, claim.fence)]
        except Unwritable as error:
            holding.end(str(error), resigned=False)
            self._retry_alone(holding, turn, RequestRejected(error.code, f"{error}. Nothing was done."))
            return
        except Exception as error:  # noqa: BLE001  a bug; the image is ahead of what can be written, so it is dropped
            _log.error("bug", during="finding what to write to ZooKeeper", exc_info=error)
            holding.end("a change cannot be written", resigned=False)
            _refuse_all(turn, Situation.FAULT)
            return
        done = settled = False
        try:
            for ops in planned:
                news.wrote(await self._zookeeper.multi(ops))
                done = True
            if done or await holds_still(self._zookeeper, claim):
                holding.core.written(turn)
                for answer in turn.answers:
                    answer.token.answer(answer.response)
            else:
                holding.end("another one has claimed the office", resigned=True)
                _refuse_all(turn, Situation.NOT_ACTIVE)
            settled = True
        except MultiFailed as error:
            settled = self._not_written(holding, turn, error, nothing_done=not done)
        except ZooKeeperError as error:
            holding.end(f"a write's outcome is unknown ({error})", resigned=True)
        finally:
            if not settled:
                # Also when cancelled in the middle: whoever has asked must not believe that nothing was done.
                _refuse_all(turn, Situation.OUTCOME_UNKNOWN if planned else Situation.NOT_ACTIVE)

    def _not_written(self, holding: _Holding, turn: Turn, error: MultiFailed, *, nothing_done: bool) -> bool:
        """What follows from a multi that failed as a whole. True: everybody was answered, or will be."""
        if error.index == 0:
            holding.end("another one has claimed the office", resigned=True)
            if nothing_done:
                _refuse_all(turn, Situation.NOT_ACTIVE)
            return nothing_done
        holding.end(f"ZooKeeper refused a write: {error}", resigned=False)
        if not nothing_done:
            return False
        why = f"ZooKeeper refuses to write it: {error}. Nothing was done."
        self._retry_alone(holding, turn, RequestRejected(ErrorCode.unknown_server_error, why))
        return True

    def _retry_alone(self, holding: _Holding, turn: Turn, why: RequestRejected) -> None:
        """Nothing of the turn was written: each of its requests gets a turn of its own; the guilty one had that."""
        if len(turn.waiting) == 1 and len(turn.steps) <= 1:
            answer = turn.waiting[0].refuse(why)
            answer.token.answer(answer.response)
        else:
            holding.core.take_back(turn.waiting)

    def _write_options(self, claim: Claim) -> WriteOptions:
        return WriteOptions(
            controller_epoch=claim.epoch,
            secret=self._config.password_encoder_secret,
            entropy=secrets.token_bytes,
        )

    async def _answer_reads(self, holding: _Holding) -> None:
        """Until cancelled. One round trip for all that wait when it begins."""
        while True:
            if not holding.reads:
                holding.asked = trio.Event()
                await holding.asked.wait()
            waiting = len(holding.reads)
            try:
                held = await holds_still(self._zookeeper, holding.claim)
            except ZooKeeperError as error:
                holding.end(f"it cannot be known whether the office is held still ({error})", resigned=True)
                return
            if not held:
                holding.end("another one has claimed the office", resigned=True)
                return
            for _ in range(waiting):
                call = holding.reads.popleft()
                self._server.read(call, holding.core.image, self._submit)


def _refuse_all(turn: Turn, situation: Situation) -> None:
    for pending in turn.waiting:
        answer = pending.refuse_for(situation)
        answer.token.answer(answer.response)


def _tell(turn: Turn) -> None:
    for fault in turn.faults:
        _log.error("bug", during=fault.what, exc_info=fault.error)
    for note in turn.notes:
        _log.info(note)


def _tell_troubles(loaded: Loaded) -> None:
    for note in loaded.notes:
        _log.info(note)
    for trouble in loaded.troubles:
        if is_left_out(trouble):
            _log.warning(f"{trouble.words}; it is left out", path=trouble.path, code=trouble.code)
