"""A model service on this machine that speaks the true wire formats; for tests of the whole server too."""

from wire.replies import AnthropicReply, End, ErrorReply, OpenAIReply, RawReply, Reply, Tool
from wire.server import WireRequest, WireServer

__all__ = [
    "AnthropicReply",
    "End",
    "ErrorReply",
    "OpenAIReply",
    "RawReply",
    "Reply",
    "Tool",
    "WireRequest",
    "WireServer",
]
