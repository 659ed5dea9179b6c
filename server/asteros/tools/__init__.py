"""What an agent can do: one file per family of tools behind the promise in ``base``."""
