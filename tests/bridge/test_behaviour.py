"""What is only for requests is not printed empty in an answer, however deep."""

import json
from typing import Any

from google.protobuf.message import Message

from aster.v1 import agent_pb2, agent_service_pb2
from asteros.bridge import protojson
from asteros.bridge.behaviour import INPUT_ONLY, OUTPUT_ONLY, REQUIRED, behaviour_of, within


def _shown(message: Message) -> Any:
    return json.loads(protojson.text_of(message))


def test_marks() -> None:
    config = agent_pb2.ModelConfig.DESCRIPTOR.fields_by_name
    assert behaviour_of(config["api_key"]) == {INPUT_ONLY}
    assert behaviour_of(config["model"]) == frozenset()
    assert REQUIRED in behaviour_of(agent_pb2.AgentConfig.DESCRIPTOR.fields_by_name["template_id"])
    assert OUTPUT_ONLY != INPUT_ONLY


def test_where_they_can_be() -> None:
    assert "aster.v1.ModelConfig" in within(agent_service_pb2.ListAgentsResponse.DESCRIPTOR)


def test_they_are_left_out_at_every_depth() -> None:
    config = agent_pb2.ModelConfig(model="m", fallbacks=[agent_pb2.ModelConfig(model="f")])
    listed = agent_service_pb2.ListAgentsResponse(agents=[agent_pb2.Agent(config={"model_config": config})])
    shown = _shown(listed)["agents"][0]["config"]["modelConfig"]
    assert "apiKey" not in shown
    assert "apiKey" not in shown["fallbacks"][0]
    assert shown["apiKeySecret"] == ""


def test_what_a_server_says_all_the_same_is_shown() -> None:
    assert _shown(agent_pb2.ModelConfig(api_key="k"))["apiKey"] == "k"
