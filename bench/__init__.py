"""Speed, measured as ratios to a ceiling of the same run: ``python -m bench`` (see README.md)."""
