"""The same walk with each client library: `python -m tests.e2e.clients.NAME BOOTSTRAP TOPIC`; prints one JSON object.

Each in a process of its own: what a library does with threads and sockets at exit is its own business.
"""

import time
from collections.abc import Callable

WITHIN_S = 30.0


def eventually(look: Callable[[], object], wanted: object) -> object:
    """What is seen once it is as wanted, or after a long time: a broker's answer may be older than another broker's."""
    end = time.monotonic() + WITHIN_S
    while (seen := look()) != wanted and time.monotonic() < end:
        pass
    return seen
