"""Makes a tool of an async function, for programs that embed the server."""

import inspect
from collections.abc import Awaitable, Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from asteros.tools.base import JsonObject, RerunPolicy, ToolContext, ToolInfo

AsyncFunction = Callable[..., Awaitable[Any]]

_TYPES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    NoneType: "null",
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class FunctionTool:
    """A function as a tool; ``function`` is the function itself."""

    def __init__(self, info: ToolInfo, function: AsyncFunction, context_name: str) -> None:
        self.info = info
        self.function = function
        self._context_name = context_name  # the parameter that takes the ToolContext; "": none

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """A dict is the answer as it stands, anything else becomes {"ok": true, "result": …}."""
        extra = {self._context_name: context} if self._context_name else {}
        result = await self.function(**args, **extra)
        return result if isinstance(result, dict) else {"ok": True, "result": result}


def tool(
    *,
    name: str = "",
    read_only: bool = False,
    rerun: RerunPolicy = RerunPolicy.NEVER,
    timeout: float | None = 60.0,
    groups: tuple[str, ...] = (),
    main_argument: str = "",
) -> Callable[[AsyncFunction], FunctionTool]:
    """Decorator: ``@tool(read_only=True)`` over ``async def weather(city: str) -> str``.

    Name and description come from the function and its docstring, the schema from its
    type hints: str, int, float, bool, list[T], dict[str, T], Literal, T | None, Any, and
    Annotated[T, "description"]. A parameter hinted ToolContext gets the context of the
    call. Raises TypeError for a hint or a function that cannot be a tool."""

    def made(function: AsyncFunction) -> FunctionTool:
        if not inspect.iscoroutinefunction(function):
            raise TypeError("a tool is an async function: a blocking one would stop the server")
        schema, context_name = _input_schema(function)
        info = ToolInfo(
            name=name or function.__name__,
            description=inspect.getdoc(function) or "",
            input_schema=schema,
            read_only=read_only,
            rerun=rerun,
            timeout=timeout,
            groups=groups,
            main_argument=main_argument,
            origin="custom",
        )
        return FunctionTool(info, function, context_name)

    return made


def _input_schema(function: AsyncFunction) -> tuple[JsonObject, str]:
    """The schema of the parameters, and the name of the one that takes the context."""
    hints = get_type_hints(function, include_extras=True)
    properties: JsonObject = {}
    required: list[str] = []
    context_name = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _NAMED or parameter.name not in hints:
            raise TypeError(f"the parameter {parameter.name} needs a name of its own and a type hint")
        hint = hints[parameter.name]
        if hint is ToolContext:
            context_name = parameter.name
            continue
        properties[parameter.name] = _schema(hint)
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return schema, context_name


def _schema(hint: Any) -> JsonObject:
    if hint is Any:
        return {}
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        texts = [text for text in inner[1:] if isinstance(text, str)]
        return {**_schema(inner[0]), **({"description": texts[0]} if texts else {})}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(part) for part in inner]}
    if origin is list:
        return {"type": "array", "items": _schema(inner[0])}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema(inner[1])}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    raise TypeError(f"{hint!r} has no JSON Schema here")
