"""The Raft core: a pure `step(event, now) -> Effects`. No clock, socket, file, thread, or chance of its own."""
