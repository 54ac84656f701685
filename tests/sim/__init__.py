"""A whole cluster in one thread: seeded scheduler, network and disks, and laws that are checked after every event.

`python -m tests.sim --seed N` replays one world. Nothing in here reads a clock, opens a file or draws a number that
does not come from the seed: the same seed gives the same trace in every process, which is itself tested.
"""
