"""What every RPC passes, one file each; the order is the list in ``services/server.py``."""
