"""ZooKeeper: its tree of znodes, its wire form, a server and a client of it, and Kafka's metadata as it lies there."""
