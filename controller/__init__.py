"""The active controller: requests in, records out; and the process that runs it."""
