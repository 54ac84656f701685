"""The log on disk: segments, snapshots, the quorum-state file, the directory's identity and lock (shell)."""
