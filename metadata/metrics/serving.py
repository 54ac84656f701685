"""Puts a node's metrics together and serves them (shell)."""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
import trio

from quorate.metadata.assembly import BoundMetrics
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.metrics.declared import Source
from quorate.metadata.metrics.endpoint import Endpoint
from quorate.metadata.metrics.image_metrics import image_samples
from quorate.metadata.metrics.node_metrics import CountedListener, listener_samples, node_samples
from quorate.metadata.metrics.page import CONTENT_TYPE, registry_of, render
from quorate.metadata.metrics.process_metrics import LoopLag, ProcessMetrics
from quorate.metadata.node import RaftNode

_log = structlog.get_logger(__name__)


async def serve_metrics(
    bound: BoundMetrics,
    *,
    node: RaftNode | None = None,
    image: Callable[[], MetadataImage | None],
    listeners: Sequence[CountedListener],
    of_the_role: Source,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until cancelled. `node`: None in ZooKeeper mode; `image`: None where there is none at the moment."""
    lag = LoopLag()
    counted: list[CountedListener] = list(listeners)
    registry = registry_of(
        [
            ProcessMetrics(lag).samples,
            *(() if node is None else (partial(node_samples, node),)),
            lambda: () if (now := image()) is None else image_samples(now),
            of_the_role,
            partial(listener_samples, counted),
        ]
    )
    endpoint = Endpoint(partial(render, registry), content_type=CONTENT_TYPE)
    counted.append(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await nursery.start(endpoint.serve, bound.sources)
        _log.info("serving metrics", at=f"http://{bound.address}/metrics")
        task_status.started()
