"""The work: one output of a task, owned by a person."""
