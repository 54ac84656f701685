"""Who is there, and what they may do: authentication of connections, and the authorizer's decisions."""
