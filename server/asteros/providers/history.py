"""What both wire dialects need of a conversation, whatever their message format."""

from collections.abc import Iterable, Sequence

from aster.v1 import common_pb2

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml")


def answered_in_order(messages: Sequence[common_pb2.Message]) -> list[common_pb2.Message]:
    """The messages with every tool result right behind the answer that asked for it.

    Both dialects refuse a request in which anything stands between a call and its
    result, and a system message can arrive while a tool runs."""
    ordered: list[common_pb2.Message] = []
    notes: list[common_pb2.Message] = []  # since the last assistant message
    for message in messages:
        if message.role == common_pb2.ROLE_TOOL:
            ordered.append(message)
        elif message.role == common_pb2.ROLE_ASSISTANT:
            ordered += [*notes, message]
            notes = []
        else:
            notes.append(message)
    return ordered + notes


def texts(message: common_pb2.Message) -> Iterable[str]:
    """The text blocks that are not blank: providers refuse blank ones."""
    return (block.text for block in message.content if block.WhichOneof("block") == "text" and block.text.strip())


def result_text(result: common_pb2.ToolResult) -> str:
    """A tool's output as the model reads it: JSON text, or the beginning of one that was too large."""
    if result.output_json or not result.output_preview:
        return result.output_json or "{}"
    return f"{result.output_preview}\n[cut: the whole result has {result.output_size_bytes} bytes]"


def ends_with_results(messages: Sequence[common_pb2.Message]) -> bool:
    """The model is in the middle of a tool loop: what it answers to are its own calls."""
    spoken = [message for message in messages if message.role != common_pb2.ROLE_SYSTEM]
    return bool(spoken) and spoken[-1].role == common_pb2.ROLE_TOOL


def inline_text(media: common_pb2.Media) -> str | None:
    """The content of a text file given inline; None for everything else."""
    if media.media_type.startswith(_TEXT_TYPES) and media.WhichOneof("source") == "data":
        return f"[file {media.filename or media.media_type}]\n{media.data.decode('utf-8', 'replace')}"
    return None


def unseen_note(media: common_pb2.Media) -> str:
    """Tells the model of a file that its wire format cannot carry, rather than dropping it silently."""
    return f"[a file that cannot be shown: {media.filename or 'unnamed'}, {media.media_type}]"
