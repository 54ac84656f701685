"""The `quorate` command: one file per group of commands, and the one place that starts nodes.

Nothing imports this package; it imports all the others. A command parses, calls and prints; what it knows lives
elsewhere. Start-up is part of the interface: `entry` imports next to nothing, and `app` loads a group of
commands only when it is called.
"""
