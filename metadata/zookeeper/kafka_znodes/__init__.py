"""Kafka's metadata in ZooKeeper: every znode's path and form, one reader and one writer (pure).

`paths` and the forms (`topics`, `configs`, `secrets`, `security`, `nodes`, `admin_nodes`) know one znode at a time;
`reader` makes records of a whole tree, `writer` makes writes of a change to an image, `reconcile` of a whole image.
Forms are those of Kafka 3.9 (`kafka.zk.ZkData`), older versions are read; what a form cannot say is a `FormError`.
"""
