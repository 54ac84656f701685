"""What a node tells about itself in numbers: declarations, what reads them off its parts, the HTTP that serves them.

`declared` says what a metric is, `*_metrics` read the parts that controllers and brokers share, `page` and `endpoint`
serve them; what only one role has is in `controller.metrics` and `broker.metrics`. Nothing is kept for the sake of
metrics but plain counters: values are read when somebody asks. docs/metrics.md is written from the declarations.
"""
