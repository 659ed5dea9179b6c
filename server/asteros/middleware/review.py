"""hitl: which tool calls a person looks at, whatever the agent's policy lets run."""

import fnmatch
from typing import ClassVar

from asteros.middleware.base import Middleware, MiddlewareContext, Review, ToolRequest
from asteros.tools.base import JsonObject

_NAMES: JsonObject = {
    "type": "array",
    "maxItems": 200,
    "items": {"type": "string", "minLength": 1, "maxLength": 100},
    "default": [],
}


class HumanInTheLoop(Middleware):
    """Names of tools, with * and ?. A deny always counts; between ask and allow the more
    literal name does, and ask where both say the same.

    A person answers an ask as any approval: allow, deny, or allow with another input."""

    name = "hitl"
    priority = 150
    about = "a person approves, rejects or edits the calls of chosen tools"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {"deny": _NAMES, "ask": {**_NAMES, "default": ["*"]}, "allow": _NAMES},
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._deny = _folded(config["deny"])
        self._ask = _folded(config["ask"])
        self._allow = _folded(config["allow"])

    async def review_tool_call(self, call: ToolRequest, context: MiddlewareContext) -> Review | None:  # noqa: ARG002
        name = call.tool.name.casefold()
        if _best(name, self._deny) >= 0:
            return Review("deny", f"{call.tool.name} is not to be used by this agent")
        ask, allow = _best(name, self._ask), _best(name, self._allow)
        if allow > ask:
            return Review("allow", f"{call.tool.name} needs no approval")
        return Review("ask", f"a person decides about {call.tool.name}") if ask >= 0 else None


def _folded(names: list[str]) -> list[str]:
    return [name.casefold() for name in names]


def _best(name: str, patterns: list[str]) -> int:
    """Literal characters of the best pattern that fits; -1: none does."""
    fitting = (pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern))
    return max((sum(char not in "*?" for char in pattern) for pattern in fitting), default=-1)
