"""What the cluster agrees on (records, image) and how it agrees (quorum, log, wire)."""
