"""What every delta says when a record cannot be true."""


class ReplayError(ValueError):
    """A record that contradicts the image: it changes what does not exist, or makes what does.

    Before an append it is a bug of the handler that made the record. In a committed record it means that this node
    and the quorum disagree about the past: the process must end.
    """
