"""A model service on this machine that speaks the true wire formats; for tests of the whole server too."""

from wire.replies import AnthropicReply, BytesReply, End, ErrorReply, OpenAIReply, RawReply, Reply, ResponsesReply, Tool
from wire.server import WireRequest, WireServer

__all__ = [
    "AnthropicReply",
    "BytesReply",
    "End",
    "ErrorReply",
    "OpenAIReply",
    "RawReply",
    "Reply",
    "ResponsesReply",
    "Tool",
    "WireRequest",
    "WireServer",
]
