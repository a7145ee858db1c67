"""Who may see and make what: the policy, callers and their classes, and the decision."""
