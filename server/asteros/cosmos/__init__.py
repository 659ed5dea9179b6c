"""All agents: create, find, wake, evict."""
