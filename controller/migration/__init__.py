"""The move from ZooKeeper (KIP-866), and the way back."""
