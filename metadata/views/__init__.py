"""Answers that are read from an image: Metadata, DescribeCluster, DescribeTopicPartitions, DescribeConfigs (pure)."""
