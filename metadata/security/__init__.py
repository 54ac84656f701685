"""Who may do what: ACLs, and the decision that they amount to."""
