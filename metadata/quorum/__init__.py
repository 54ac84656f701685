"""The Raft core: a pure `step(event, now) -> Effects`. No clock, no socket, no file, no thread, no chance of its own."""
