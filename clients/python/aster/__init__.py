"""Aster: the contract of the agent control plane and its Python client."""
