"""Plans of work, stored and carried out step by step, over restarts."""
