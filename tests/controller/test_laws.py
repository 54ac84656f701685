"""Any sequence of operations, losses of leadership included, against a model made of dicts.

The model changes when an answer says that something was done. So whenever nothing is under way, what clients were
told and what the quorum has committed must be the same thing; and every image keeps the laws of the metadata.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quorate.controller import isr
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import ELR_VERSION, METADATA_VERSION
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.writer import image_records
from quorate.metadata.records import NO_LEADER, ControlRecord
from quorate.metadata.wire.brokers import UnregisterBrokerRequest
from quorate.metadata.wire.cluster import FeatureUpdateKey, UpdateFeaturesRequest
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import (
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from tests.controller.desk import OTHER, Desk, control_batch, create, registration
from tests.controller.world import config

TOPICS = st.sampled_from(["a", "a.b", "a_b", "c"])
BROKERS = st.integers(1, 4)
KEYS = st.sampled_from(["retention.ms", "flush.ms", "unclean.leader.election.enable", "min.insync.replicas"])


class Controller(RuleBasedStateMachine):
    """One active controller, a standby that replays the same log, and the model."""

    slices: int | None = None
    keeps_eligible_leaders = False

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(config=config(broker_session_timeout_ms=3_000))
        self.standby = Desk()
        self.standby_seen = 0
        self.epoch = 1
        self.lives: dict[int, int] = {}
        self.under_way: dict[int, tuple[Any, ...]] = {}
        """token -> what it asks for."""
        self.topics: dict[str, int] = {}
        self.configs: dict[str, dict[str, str]] = {}

    @initialize()
    def begin(self) -> None:
        self.desk.lead(1)
        if self.keeps_eligible_leaders:
            self.desk.ask(features_at(**{METADATA_VERSION: 23}))
            self.desk.ask(features_at(**{ELR_VERSION: 1}))
        for broker_id in (1, 2, 3):
            self.desk.broker(broker_id)

    # --- what clients do

    @rule(name=TOPICS, partitions=st.integers(1, 4), factor=st.integers(1, 3))
    def create_topic(self, name: str, partitions: int, factor: int) -> None:
        token = self.desk.submit(create(name, partitions=partitions, factor=factor))
        self.under_way[token] = ("create", name, partitions)

    @rule(name=TOPICS)
    def delete_topic(self, name: str) -> None:
        states = (DeleteTopicState(name=name),)
        token = self.desk.submit(DeleteTopicsRequest(topics=states, timeout_ms=60_000))
        self.under_way[token] = ("delete", name)

    @rule(name=TOPICS, count=st.integers(1, 6))
    def grow_topic(self, name: str, count: int) -> None:
        wanted = (CreatePartitionsTopic(name=name, count=count),)
        token = self.desk.submit(CreatePartitionsRequest(topics=wanted, timeout_ms=60_000))
        self.under_way[token] = ("grow", name, count)

    @rule(name=TOPICS, key=KEYS, value=st.sampled_from(["1", "2", "true", "nonsense", None]))
    def change_config(self, name: str, key: str, value: str | None) -> None:
        operation = 0 if value is not None else 1
        change = IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
        resource = IncrementalAlterConfigsResource(resource_type=2, resource_name=name, configs=(change,))
        token = self.desk.submit(IncrementalAlterConfigsRequest(resources=(resource,)))
        self.under_way[token] = ("config", name, key, value)

    # --- what brokers do

    @rule(broker_id=BROKERS, new_process=st.booleans())
    def register(self, broker_id: int, new_process: bool) -> None:
        self.lives[broker_id] = self.lives.get(broker_id, 0) + new_process
        token = self.desk.submit(registration(broker_id, self.lives[broker_id]))
        self.under_way[token] = ("broker",)

    @rule(broker_id=BROKERS, want_fence=st.booleans(), want_shut_down=st.booleans())
    def heartbeat(self, broker_id: int, want_fence: bool, want_shut_down: bool) -> None:
        beat = self.desk.beat(broker_id, want_fence=want_fence, want_shut_down=want_shut_down)
        token = self.desk.submit(beat)
        self.under_way[token] = ("broker",)

    @rule(broker_id=BROKERS)
    def live(self, broker_id: int) -> None:
        self.under_way[self.desk.submit(self.desk.beat(broker_id))] = ("broker",)

    @rule(broker_id=BROKERS)
    def unregister(self, broker_id: int) -> None:
        token = self.desk.submit(UnregisterBrokerRequest(broker_id=broker_id))
        self.under_way[token] = ("broker",)

    # --- what the quorum does

    @rule()
    def turn(self) -> None:
        self.desk.turn()

    @rule(count=st.none() | st.integers(1, 3))
    def commit(self, count: int | None) -> None:
        waiting = len(self.desk.log) - self.desk.committed
        self.desk.commit(None if count is None else min(count, waiting))

    @rule(ms=st.integers(1, 2_000))
    def pass_time(self, ms: int) -> None:
        self.desk.pass_time(ms)

    @precondition(lambda self: self.desk.controller.active_epoch is not None)
    @rule(kept=st.integers(0, 3))
    def fail_over_and_back(self, kept: int) -> None:
        """Another node leads for a moment; of the batches that were not committed it has the first `kept`."""
        self.epoch += 1
        self.desk.lose(self.epoch)
        del self.desk.log[self.desk.committed + kept :]
        self.desk.log.append(control_batch(self.desk.log_end, self.epoch, OTHER))
        self.epoch += 1
        self.desk.lead(self.epoch)

    # --- the laws

    @invariant()
    def what_was_told_is_what_was_committed(self) -> None:
        for token in sorted(self.desk.answers.keys() & self.under_way.keys()):
            self._believe(self.under_way.pop(token), self.desk.answers[token])
        if self.under_way:
            return
        image = self.desk.controller.committed_image
        assert {topic.name: topic.partition_count for topic in image.topics} == self.topics
        for name in self.topics:
            assert dict(image.configs.of(2, name)) == self.configs.get(name, {})

    def _believe(self, asked: tuple[Any, ...], response: Any) -> None:
        match asked:
            case ("create", name, partitions) if response.topics[0].error_code is ErrorCode.none:
                self.topics[name] = partitions
            case ("delete", name) if response.responses[0].error_code is ErrorCode.none:
                del self.topics[name]
                self.configs.pop(name, None)
            case ("grow", name, count) if response.results[0].error_code is ErrorCode.none:
                assert count > self.topics[name]
                self.topics[name] = count
            case ("config", name, key, value) if response.responses[0].error_code is ErrorCode.none:
                assert name in self.topics
                if value is None:
                    self.configs.get(name, {}).pop(key, None)
                else:
                    self.configs.setdefault(name, {})[key] = value

    @invariant()
    def partitions_are_sound(self) -> None:
        self._check_partitions(leaders_too=self.slices is None)

    def _check_partitions(self, leaders_too: bool) -> None:
        image = self.desk.controller.newest_image
        for topic in image.topics:
            for _, partition in topic.partitions():
                assert len(set(partition.replicas)) == len(partition.replicas) == len(partition.directories)
                eligible = set(partition.eligible_leader_replicas)
                assert partition.isr or self.keeps_eligible_leaders
                assert not eligible or self.keeps_eligible_leaders
                assert {*partition.isr, *eligible} <= set(partition.replicas)
                assert not eligible & set(partition.isr)
                if partition.leader != NO_LEADER:
                    assert partition.leader in partition.isr
                if partition.leader != NO_LEADER and leaders_too:
                    assert image.cluster.is_active(partition.leader)

    @invariant()
    def a_standby_has_the_same_image(self) -> None:
        self.standby.log = self.desk.log[: self.desk.committed]
        self.standby.commit()
        assert self.standby.controller.committed_image == self.desk.controller.committed_image

    @invariant()
    def the_image_is_its_records(self) -> None:
        image = self.desk.controller.committed_image
        delta = MetadataDelta(MetadataImage.EMPTY)
        for record in image_records(image):
            assert not isinstance(record, ControlRecord)
            delta.replay(record)
        assert delta.apply(image.provenance) == image

    @invariant()
    def nobody_met_a_bug(self) -> None:
        assert self.desk.controller.counters.faults == 0

    def teardown(self) -> None:
        """In the end everything is answered, and every partition is led by an active broker or by none."""
        if self.desk.controller.active_epoch is None:
            return
        while self.desk.controller.queue_length:
            self.desk.turn()
        self.desk.commit()
        self.what_was_told_is_what_was_committed()
        assert not self.under_way
        self.desk.pass_time(500)
        self._check_partitions(leaders_too=True)


class SlicedController(Controller):
    """The same where an operation looks at two partitions of a broker, and the rest follows turn by turn."""

    slices = 2

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(isr, "PARTITIONS_AT_ONCE", self.slices)

    def teardown(self) -> None:
        super().teardown()
        self.patch.undo()


class ElrController(SlicedController):
    """The same where the cluster keeps eligible leader replicas, so that an ISR may be empty."""

    keeps_eligible_leaders = True


def features_at(**levels: int) -> UpdateFeaturesRequest:
    return UpdateFeaturesRequest(
        feature_updates=tuple(
            FeatureUpdateKey(feature=name, max_version_level=level) for name, level in levels.items()
        )
    )


TestElrController = ElrController.TestCase
TestElrController.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestController = Controller.TestCase
TestController.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSlicedController = SlicedController.TestCase
TestSlicedController.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
