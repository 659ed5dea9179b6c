"""Where tools act: the workspace of an agent and, later, the box around its commands."""
