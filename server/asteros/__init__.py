"""AsterOS: the server that hosts Aster agents behind the contract in ``proto/aster/v1``."""

__version__ = "0.1.0"
