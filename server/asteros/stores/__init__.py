"""What survives: agents, sessions, messages, events, turns, tool calls, approvals, keys."""
