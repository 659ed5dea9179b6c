"""Log lines: text for people, JSON for machines. Fields are named; messages are never logged whole."""

import json
import logging
import sys
from typing import ClassVar

from asteros import clock

# Libraries that log addresses, headers or whole messages, which may hold keys: warnings alone.
_QUIET = ("anthropic", "httpcore2", "httpx2", "mcp", "openai")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    _LEVELS: ClassVar[dict[str, str]] = {"WARNING": "warn"}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": clock.timestamp(int(record.created * clock.NANOS)).ToJsonString(),
            "level": self._LEVELS.get(record.levelname, record.levelname.lower()),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(form: str, level: str) -> None:
    """Sends everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
