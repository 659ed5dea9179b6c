"""TodoWrite: the to-do list an agent keeps for a session."""

import asyncio
import weakref
from dataclasses import asdict, replace

from asteros.errors import FieldViolation
from asteros.tools.base import JsonObject, RerunPolicy, Todo, ToolContext, ToolInfo

MAX_TODOS = 200
MAX_CONTENT = 2000  # characters
DEFAULT_LIST = "default"
_TEXT = {"type": "string", "maxLength": MAX_CONTENT}
_TODO = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Default: a number."},
        "content": {**_TEXT, "minLength": 1, "description": "What to do."},
        "active_form": {**_TEXT, "description": 'The same in progress, for example "Running the tests".'},
        "activeForm": {**_TEXT, "description": "Another spelling of active_form."},
        "status": {"enum": ["pending", "in_progress", "completed"], "description": "Default pending."},
        "priority": {"enum": ["low", "medium", "high"]},
    },
    "additionalProperties": False,
}


class TodoWrite:
    """{"ok", "list_name", "todos": [whole list], "pending", "in_progress", "completed"}."""

    info = ToolInfo(
        name="TodoWrite",
        description=(
            "Keeps the to-do list of this session. todos replaces the list; with action add they are put "
            "behind it, update changes those of the same id, remove takes them away, clear empties the list."
        ),
        input_schema={
            "type": "object",
            "properties": {
                "todos": {"type": "array", "items": _TODO, "maxItems": MAX_TODOS},
                "list_name": {"type": "string", "minLength": 1, "maxLength": 100},
                "action": {"enum": ["set", "add", "update", "remove", "clear"], "description": "Default set."},
                "todo_id": {"type": "string", "description": "The entry to update or remove, where todos gives no id."},
            },
            "required": ["todos"],
            "additionalProperties": False,
        },
        harmless=True,
        rerun=RerunPolicy.SAFE,  # set, update, remove and clear may be done twice; add looks for its ids
    )

    def __init__(self) -> None:
        # Two calls of one session must not read the same list before either writes it.
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:
        """Stored with the session before the change is announced."""
        name: str = args.get("list_name", DEFAULT_LIST)
        lock = self._locks.setdefault(context.session_id, asyncio.Lock())
        async with lock:
            stored = await context.session_notes.get(f"todos/{name}") or []
            todos = [Todo(**entry) for entry in stored]
            try:
                todos = _changed(todos, args)
                await context.session_notes.put(f"todos/{name}", [asdict(todo) for todo in todos])
            except _Refused as refused:
                return {"ok": False, "error": refused.text, "list_name": name}
            except FieldViolation:
                return {"ok": False, "error": "the list is too long to be kept", "list_name": name}
            context.todos(todos)
        counts = {
            state: sum(todo.status == state for todo in todos) for state in ("pending", "in_progress", "completed")
        }
        return {"ok": True, "list_name": name, "todos": [asdict(todo) for todo in todos], **counts}


class _Refused(Exception):
    """The list stays as it is."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _changed(todos: list[Todo], args: JsonObject) -> list[Todo]:
    given: list[JsonObject] = args["todos"]
    match args.get("action", "set"):
        case "clear":
            return []
        case "remove":
            return _removed(todos, _ids(given, args))
        case "update":
            return _updated(todos, given, args)
        case "add":
            return _added(todos, given)
    return _added([], given)


def _added(todos: list[Todo], given: list[JsonObject]) -> list[Todo]:
    out = list(todos)
    for entry in given:
        if "content" not in entry:
            raise _Refused("each entry needs a content")
        known = {todo.id for todo in out}
        free = next(str(number) for number in range(1, len(out) + 2) if str(number) not in known)
        wanted = entry.get("id", free)
        if wanted in known:
            raise _Refused(f"there is an entry {wanted!r} already")
        out.append(_merged(Todo(wanted, ""), entry))
    if len(out) > MAX_TODOS:
        raise _Refused(f"a list has at most {MAX_TODOS} entries")
    return out


def _updated(todos: list[Todo], given: list[JsonObject], args: JsonObject) -> list[Todo]:
    changes = dict(zip(_ids(given, args), given, strict=True))
    _require(todos, changes)
    return [_merged(todo, changes[todo.id]) if todo.id in changes else todo for todo in todos]


def _removed(todos: list[Todo], ids: list[str]) -> list[Todo]:
    return [todo for todo in todos if todo.id not in ids]


def _ids(given: list[JsonObject], args: JsonObject) -> list[str]:
    """The id of each entry given; todo_id is that of a single one, or stands alone."""
    single = args.get("todo_id")
    if single is not None and not given:
        return [single] if args["action"] == "remove" else []
    ids = [str(entry.get("id", single if len(given) == 1 else None) or "") for entry in given]
    if "" in ids:
        raise _Refused("each entry needs the id of one in the list")
    return ids


def _require(todos: list[Todo], changes: dict[str, JsonObject]) -> None:
    known = {todo.id for todo in todos}
    for wanted in changes:
        if wanted not in known:
            raise _Refused(f"there is no entry {wanted!r}")


def _merged(todo: Todo, entry: JsonObject) -> Todo:
    given = {"active_form" if name == "activeForm" else name: value for name, value in entry.items()}
    return replace(todo, **{**given, "id": todo.id})
