"""The onion around model calls and tool calls, and the middlewares every server has."""
