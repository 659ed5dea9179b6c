"""What all wire dialects need of a conversation, whatever their message format."""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from aster.v1 import agent_pb2, common_pb2

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


class ToolLoop:
    """The answers since the person last spoke, and the reasoning that must go back with them.

    Only these need it. Older reasoning would tie a conversation for ever to the key
    and the model that once sealed it, and providers leave it aside anyway."""

    def __init__(self, config: agent_pb2.ModelConfig, messages: Sequence[common_pb2.Message]) -> None:
        self._maker = (config.provider, config.model)
        last = max((at for at, each in enumerate(messages) if each.role == common_pb2.ROLE_USER), default=-1)
        self._answers = [each for each in messages[last + 1 :] if each.role == common_pb2.ROLE_ASSISTANT]
        self._members = {id(each) for each in self._answers}

    @property
    def open(self) -> bool:
        """The model has called tools and is about to go on."""
        return bool(self._answers)

    @property
    def began_sealed(self) -> bool:
        """The first answer of the loop begins with reasoning that this model sealed."""
        first = self._answers[0].content[0] if self._answers and self._answers[0].content else None
        if first is not None and first.WhichOneof("block") == "thinking":  # the readable form stands before the seal
            first = self._answers[0].content[1] if len(self._answers[0].content) > 1 else None
        return first is not None and self._own(first)

    def seal(self, message: common_pb2.Message, block: common_pb2.ContentBlock) -> Any:
        """The provider's own block to send back for this one; None: there is none, or it is not this model's."""
        if id(message) not in self._members or not self._own(block):
            return None
        return json.loads(block.sealed_thinking.data)

    def _own(self, block: common_pb2.ContentBlock) -> bool:
        sealed = block.sealed_thinking
        return block.WhichOneof("block") == "sealed_thinking" and (sealed.provider, sealed.model) == self._maker


def inline_text(media: common_pb2.Media) -> str | None:
    """The content of a text file given inline; None for everything else."""
    if media.media_type.startswith(_TEXT_TYPES) and media.WhichOneof("source") == "data":
        return f"[file {media.filename or media.media_type}]\n{media.data.decode('utf-8', 'replace')}"
    return None


def unseen_note(media: common_pb2.Media) -> str:
    """Tells the model of a file that its wire format cannot carry, rather than dropping it silently."""
    return f"[a file that cannot be shown: {media.filename or 'unnamed'}, {media.media_type}]"


def data_url(media: common_pb2.Media) -> str:
    """Inline content as a data: address."""
    return f"data:{media.media_type};base64,{base64.b64encode(media.data).decode('ascii')}"
