"""Other servers for agents, each in an environment of its own, with the same fake model as ours."""
