"""patch_tool_calls: calls without a result, results without a call, inputs that are no JSON object."""

import json
from dataclasses import replace

from aster.v1 import common_pb2
from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.providers.base import ModelRequest
from asteros.providers.pairing import calls_of, for_model


class PatchToolCalls(Middleware):
    """Makes what the rings further out have sent fit for every provider."""

    name = "patch_tool_calls"
    priority = 50
    about = "repairs dangling tool calls"

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        messages = [_repaired(message) for message in request.messages]
        return await proceed(replace(request, messages=for_model(messages)))


def _repaired(message: common_pb2.Message) -> common_pb2.Message:
    """The message itself, or a copy whose calls have an object for input: providers refuse others."""
    if all(_is_object(call.input_json) for call in calls_of(message)):
        return message
    copy = common_pb2.Message()
    copy.CopyFrom(message)
    for call in calls_of(copy):
        if not _is_object(call.input_json):
            call.input_json = json.dumps({"unreadable_input": call.input_json}, ensure_ascii=False)
    return copy


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
