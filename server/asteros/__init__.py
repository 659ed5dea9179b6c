"""AsterOS: the server that hosts Aster agents behind the contract in ``proto/aster/v1``.

``from asteros import AsterOS, Options, Cosmos, Stars, Interface``: a server in a program
of your own, see ``front``. They are loaded when they are first asked for."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asteros.front import AsterOS, Cosmos, Interface, Options, Stars

__version__ = "0.1.0"
__all__ = ["AsterOS", "Cosmos", "Interface", "Options", "Stars", "__version__"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("asteros.front"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
