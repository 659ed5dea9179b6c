"""Stars: agents that work together on one task."""
