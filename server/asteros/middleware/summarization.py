"""summarization: a conversation longer than the model's window goes on as a summary and its newest part.

What is stored stays whole; the summary is a note of the session and survives a restart.
The model sees: the instructions given on the way, the summary, and the newest messages,
which begin where no tool call is parted from its result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

from aster.v1 import agent_pb2, common_pb2, event_pb2
from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.middleware.observations import shortened
from asteros.middleware.transcript import parts, size_of, text_size
from asteros.providers.base import ModelRequest
from asteros.providers.pairing import text_of
from asteros.tools.base import JsonObject

NOTE = "summarization"
DEFAULT_WINDOW = 128_000  # tokens, for a model nobody knows
FIRST_RATE = 3.5  # bytes of a token until the provider has counted some
MAX_SUMMARY = 100_000  # bytes; a note holds 256 KiB
PREVIEW = 1024  # bytes of the summary in the event
_PROMPT = (
    "You keep the memory of a long conversation between a person and an assistant with tools. Write the new summary: "
    "what the person wants, what was decided and why, what was done and with which result, names, paths, numbers and "
    "identifiers that are still needed, and what is open. Write facts, not a story, and only the summary."
)


@dataclass(slots=True)
class _Memory:
    """What is known of a session; the first four are kept in its note."""

    summary: str = ""
    begins: str = ""  # id of the first message that is still sent; "" all are
    request: str = ""  # what the turn in progress is about, when its message is no longer sent
    instructions: list[str] = field(default_factory=list)  # system messages that are no longer sent
    rate: float = FIRST_RATE  # bytes of a token
    sent: int = 0  # bytes of the last request


class Summarization(Middleware):
    """Keeps every request below ``trigger`` of the window; one summary takes it down to ``keep``."""

    name = "summarization"
    priority = 40
    about = "long conversations go on as a summary and their newest part"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "window": {"type": "integer", "minimum": 500, "maximum": 100_000_000},
            "trigger": {"type": "number", "minimum": 0.3, "maximum": 0.95, "default": 0.8},
            "keep": {"type": "number", "minimum": 0.05, "maximum": 0.7, "default": 0.4},
            "prompt": {"type": "string", "minLength": 1, "maxLength": 20_000},
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._window: int | None = config.get("window")
        self._trigger: float = config["trigger"]
        self._keep: float = config["keep"]
        self._prompt: str = config.get("prompt", _PROMPT)
        if self._keep > self._trigger - 0.2:
            raise ValueError("keep must be at least 0.2 below trigger: the summary needs room too")
        self._memories: dict[str, _Memory] = {}  # by session

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:
        memory = await self._memory(context)
        window = self._window or context.window or DEFAULT_WINDOW
        fixed = text_size(request.system) + sum(
            text_size(tool.description) + len(tool.input_schema_json) for tool in request.tools
        )
        limit = int(min(self._trigger * window, window - _answer(request.config, window)) * memory.rate) - fixed
        view = _view(memory, request.messages)
        if _size(view) > limit:
            await self._shorten(memory, request, context, window, fixed)
            view = _fitted(_view(memory, request.messages), limit)
        memory.sent = fixed + _size(view)
        return await proceed(replace(request, messages=view))

    async def _memory(self, context: ModelContext) -> _Memory:
        memory = self._memories.get(context.session_id)
        if memory is None:
            kept = await context.session_notes.get(NOTE) or {}
            memory = self._memories[context.session_id] = _Memory(**kept)
        usage = context.last_usage
        if usage is not None and usage.input_tokens > 0 and memory.sent:
            # A provider that leaves out what it has cached must not make the estimate careless.
            memory.rate = min(max(memory.sent / usage.input_tokens, 1.0), 5.0)
        return memory

    async def _shorten(
        self, memory: _Memory, request: ModelRequest, context: ModelContext, window: int, fixed: int
    ) -> None:
        """Takes the older messages into the summary, part by part, and says so."""
        before = _view(memory, request.messages)
        sent = _sent(memory, request.messages)
        cut = _place(sent, int(self._keep * window * memory.rate) - fixed)
        if cut == 0:
            return  # one message alone: nothing to take away
        room = int(0.5 * window * memory.rate)
        summary, tokens = memory.summary, min(int(0.1 * window), MAX_SUMMARY // 4)
        for part in parts(sent[:cut], room):
            text = f"The summary so far:\n{summary or '(nothing)'}\n\nWhat was said next:\n{part}\n\nThe new summary:"
            told = await context.ask_model(_asking(request, self._prompt, text, tokens))
            summary = _cut(told.strip() or summary, tokens * 4)
        memory.summary, memory.begins = summary, sent[cut].id
        self._remember(memory, sent, cut, int(0.1 * window * memory.rate))
        kept = {name: value for name, value in asdict(memory).items() if name not in ("rate", "sent")}
        await context.session_notes.put(NOTE, kept)
        after = _view(memory, request.messages)
        context.emit(
            event_pb2.SessionSummarized(
                messages_before=len(before),
                messages_after=len(after),
                tokens_before=int((fixed + _size(before)) / memory.rate),
                tokens_after=int((fixed + _size(after)) / memory.rate),
                summary_preview=_cut(summary, PREVIEW),
            )
        )

    def _remember(self, memory: _Memory, sent: Sequence[common_pb2.Message], cut: int, room: int) -> None:
        """What must not be summarized: instructions, the newest that fit, and the open request."""
        gone = [text_of(message) for message in sent[:cut] if message.role == common_pb2.ROLE_SYSTEM]
        told: list[str] = []
        for text in reversed([*memory.instructions, *gone]):
            room -= text_size(text)
            if room < 0:
                break
            told.insert(0, text)
        memory.instructions = told
        if any(message.role == common_pb2.ROLE_USER for message in sent[cut:]):
            memory.request = ""
            return
        asked = [text_of(message) for message in sent[:cut] if message.role == common_pb2.ROLE_USER]
        memory.request = _cut(asked[-1], 8000) if asked else memory.request


def _view(memory: _Memory, messages: Sequence[common_pb2.Message]) -> list[common_pb2.Message]:
    """What the model is sent of the messages."""
    sent = _sent(memory, messages)
    if not memory.begins:
        return sent
    text = f"[This conversation is longer than what follows. A summary of what was said before:]\n{memory.summary}"
    if memory.instructions:
        text += "\n\n[Instructions given on the way:]\n" + "\n".join(memory.instructions)
    if memory.request:
        text += f"\n\n[What you are working on, as the person asked for it:]\n{memory.request}"
    head = common_pb2.Message(role=common_pb2.ROLE_USER, content=[common_pb2.ContentBlock(text=text)])
    return [head, *sent]


def _sent(memory: _Memory, messages: Sequence[common_pb2.Message]) -> list[common_pb2.Message]:
    """The messages from where they are no longer in the summary."""
    if memory.begins:
        for place in reversed(range(len(messages))):
            if messages[place].id == memory.begins:
                return list(messages[place:])
        # It was taken back, or the history is another one: then the summary stands for nothing.
        memory.begins = memory.summary = memory.request = ""
        memory.instructions = []
    return list(messages)


def _size(messages: Sequence[common_pb2.Message]) -> int:
    return sum(map(size_of, messages))


def _place(messages: Sequence[common_pb2.Message], room: int) -> int:
    """Where the newest part begins that fits: at what a person or the model said."""
    place = last = len(messages)
    while place > 0:
        place -= 1
        room -= size_of(messages[place])
        begins = messages[place].role in (common_pb2.ROLE_USER, common_pb2.ROLE_ASSISTANT) and messages[place].id
        if room < 0 and last < len(messages):
            break
        if begins:
            last = place
            if room < 0:
                break
    return last if last < len(messages) else 0


def _fitted(view: list[common_pb2.Message], limit: int) -> list[common_pb2.Message]:
    """Shortens tool results when even the newest part is too long."""
    places = [at for at, message in enumerate(view) if message.role == common_pb2.ROLE_TOOL]
    share = limit // 2
    while places and share > 100 and _size(view) > limit:
        view = shortened(view, places, share)
        share //= 2
    return view


def _answer(config: agent_pb2.ModelConfig, window: int) -> int:
    """Tokens to leave for the answer."""
    return min(config.max_tokens, window // 2) if config.HasField("max_tokens") else 0


def _asking(request: ModelRequest, prompt: str, text: str, max_tokens: int) -> ModelRequest:
    config = agent_pb2.ModelConfig()
    config.CopyFrom(request.config)
    config.max_tokens = max_tokens
    config.thinking_budget_tokens = 0
    del config.stop_sequences[:]
    asked = common_pb2.Message(role=common_pb2.ROLE_USER, content=[common_pb2.ContentBlock(text=text)])
    return replace(request, config=config, messages=[asked], system=prompt, tools=())


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
