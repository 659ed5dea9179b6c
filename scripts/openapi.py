"""Writes docs/openapi.json from the contract; with --check only says whether it is what the contract gives."""

import json
import sys
from pathlib import Path

from asteros.bridge.bindings import Service, Table
from asteros.bridge.docs import Description
from asteros.bridge.options import Options
from asteros.config import Options as ServerOptions
from asteros.faces import contract_comments
from asteros.services.server import services

DOCUMENT = Path(__file__).parents[1] / "docs" / "openapi.json"


def text() -> str:
    """What a server with default options serves, one member a line."""
    defaults = ServerOptions()
    table = Table([Service(service, "aster") for service in services()], defaults.api_prefix)
    described = Description(table, Options(name=defaults.name, comments=contract_comments)).document()
    return json.dumps(json.loads(described), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        DOCUMENT.write_text(text(), encoding="utf-8")
    elif text() != DOCUMENT.read_text(encoding="utf-8"):
        sys.exit("docs/openapi.json differs from what the contract gives: run 'make openapi' and commit the result.")
