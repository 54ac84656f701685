"""The immutable metadata image, the delta that interprets records, and the writer that turns it back into records."""
