"""A conversation as text to be summarized, and how much room messages take."""

from collections.abc import Iterator, Sequence

from aster.v1 import common_pb2

MEDIA_BYTES = 6_000  # what a picture or a document counts for, whatever its size
_LONG = 16_000  # bytes from which a message may hold a file
_RESULT = 2_000  # characters of a tool result, and of a call's input
_TEXT = 20_000  # characters of one message
_NAMES = {
    common_pb2.ROLE_USER: "person",
    common_pb2.ROLE_ASSISTANT: "assistant",
    common_pb2.ROLE_SYSTEM: "instruction",
    common_pb2.ROLE_TOOL: "tool",
}


def text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def size_of(message: common_pb2.Message) -> int:
    """About how many bytes of a request the message takes."""
    size = message.ByteSize()
    if size > _LONG:
        for block in message.content:
            if block.WhichOneof("block") == "media" and block.media.data:
                size += MEDIA_BYTES - len(block.media.data)
    return size


def parts(messages: Sequence[common_pb2.Message], room: int) -> Iterator[str]:
    """The conversation as text, in parts of at most ``room`` bytes."""
    lines: list[str] = []
    taken = 0
    for message in messages:
        for line in _lines(message):
            line = _cut(line, room)
            size = text_size(line) + 1
            if lines and taken + size > room:
                yield "\n".join(lines)
                lines, taken = [], 0
            lines.append(line)
            taken += size
    if lines:
        yield "\n".join(lines)


def _lines(message: common_pb2.Message) -> Iterator[str]:
    name = _NAMES.get(message.role, "other")
    for block in message.content:
        match block.WhichOneof("block"):
            case "text":
                yield f"{name}: {block.text[:_TEXT]}"
            case "tool_call":
                yield f"assistant calls {block.tool_call.name}: {block.tool_call.input_json[:_RESULT]}"
            case "tool_result":
                yield f"{block.tool_result.name} answers: {block.tool_result.output_json[:_RESULT]}"
            case "media":
                yield f"{name} shows a file: {block.media.filename or block.media.media_type}"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
