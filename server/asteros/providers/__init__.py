"""Who thinks: one file per model provider behind the promise in ``base``."""
