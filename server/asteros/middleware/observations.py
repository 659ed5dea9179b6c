"""observation_compression: what tools once said is shortened when the conversation has gone on."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from aster.v1 import common_pb2
from asteros.middleware.base import CallModel, Middleware, ModelContext, ModelStream
from asteros.providers.base import ModelRequest
from asteros.providers.pairing import results_of
from asteros.tools.base import JsonObject


class ObservationCompression(Middleware):
    """Shows the newest tool messages whole and only both ends of longer results before them.

    Nothing stored is changed: GetToolCall still has every result."""

    name = "observation_compression"
    priority = 35
    about = "shortens older tool results"
    config_schema: ClassVar[JsonObject] = {
        "type": "object",
        "properties": {
            "max_bytes": {"type": "integer", "minimum": 100, "maximum": 1_000_000, "default": 2_000},
            "keep_recent": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 3},
        },
        "additionalProperties": False,
    }

    def __init__(self, config: JsonObject) -> None:
        self._limit: int = config["max_bytes"]
        self._keep: int = config["keep_recent"]

    async def wrap_model_call(self, request: ModelRequest, context: ModelContext, proceed: CallModel) -> ModelStream:  # noqa: ARG002
        places = [at for at, message in enumerate(request.messages) if message.role == common_pb2.ROLE_TOOL]
        old = places[: len(places) - self._keep] if self._keep else places
        return await proceed(replace(request, messages=shortened(request.messages, old, self._limit)))


def shortened(messages: Sequence[common_pb2.Message], places: Sequence[int], limit: int) -> list[common_pb2.Message]:
    """The messages with the results of those at ``places`` at most about ``limit`` bytes long."""
    out = list(messages)
    for at in places:
        if any(len(result.output_json) > limit for result in results_of(out[at])):
            out[at] = _short(out[at], limit)
    return out


def _short(message: common_pb2.Message, limit: int) -> common_pb2.Message:
    copy = common_pb2.Message()
    copy.CopyFrom(message)
    for result in results_of(copy):
        data = result.output_json.encode()
        if len(data) > limit:
            half = max(limit // 2 - 60, 20)
            begins, ends = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
            facts = {"ok": not result.is_error, "shortened_from_bytes": len(data), "begins": begins, "ends": ends}
            result.output_json = json.dumps(facts, ensure_ascii=False)
    return copy
