"""The document says of every binding what the transcoder does with it."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from bridge.probe import services
from openapi_spec_validator import validate

from asteros.bridge.bindings import Service, Style, Table
from asteros.bridge.comments import comments_of
from asteros.bridge.openapi import METHODS, document
from asteros.faces import contract_comments
from asteros.services.server import services as contract_services

INT64 = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
ROOT = Path(__file__).parents[2]


def contract() -> Table:
    return Table([Service(service, "aster") for service in contract_services()])


def of_contract() -> dict[str, Any]:
    return document(contract(), "AsterOS", "v1", contract_comments(), "cursor")


def of_probe(style: Style = "aster") -> dict[str, Any]:
    return document(Table(services(style)), "probe", "1", {"probe.v1.Probe.Get": "Gets it. And more.\n- a list"})


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return of_contract()


@pytest.fixture(scope="module")
def probe() -> dict[str, Any]:
    return of_probe()


def operations(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["operationId"]: one for path in found["paths"].values() for one in path.values()}


def parameters(found: dict[str, Any], operation: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in operations(found)[operation].get("parameters", ())}


# -- the whole ---------------------------------------------------------------------------


def test_contract_is_valid(api: dict[str, Any]) -> None:
    assert api["openapi"] == "3.1.0"
    validate(api)


def test_every_rule_of_http_gives_a_valid_document() -> None:
    validate(of_probe("gateway"))


def test_every_binding_appears_exactly_once(api: dict[str, Any]) -> None:
    expected = [(b.verb.lower(), re.sub(r"\{[^}]*\}", "{}", b.template.text)) for b in contract()]
    found = [(verb, re.sub(r"\{[^}]*\}", "{}", path)) for path, item in api["paths"].items() for verb in item]
    assert sorted(found) == sorted(expected)
    assert len(set(expected)) == len(expected) > 90
    assert len(operations(api)) == len(expected)
    assert all(verb in METHODS for verb, _ in found)


def test_committed_document_is_what_the_contract_gives() -> None:
    script = runpy.run_path(str(ROOT / "scripts/openapi.py"))
    assert script["text"]() == (ROOT / "docs/openapi.json").read_text(encoding="utf-8"), "make openapi"


def test_every_operation_is_explained(api: dict[str, Any]) -> None:
    for name, operation in operations(api).items():
        assert operation["summary"], name
        assert operation["responses"]["default"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Error"
        }
    assert api["security"] == [{"bearer": []}, {"apiKey": []}]
    assert [tag["name"] for tag in api["tags"]] == [s.name for s in contract_services()]
    assert all(tag["description"] for tag in api["tags"])


def test_every_field_is_explained(api: dict[str, Any]) -> None:
    for name, schema in api["components"]["schemas"].items():
        for member, value in schema.get("properties", {}).items():
            assert value.get("description") or name in ("Error", "Status"), f"{name}.{member}"


def test_two_makings_are_alike() -> None:
    assert str(of_contract()) == str(of_contract())


# -- requests ----------------------------------------------------------------------------


def test_additional_bindings_are_numbered(api: dict[str, Any]) -> None:
    names = set(operations(api))
    assert {"EventService_Subscribe", "EventService_Subscribe_2", "StarsService_RunStar_2"} <= names


def test_path_parameters_are_called_as_the_first_calls_them(api: dict[str, Any]) -> None:
    item = api["paths"]["/api/agents/{agent_id}"]
    assert set(item) == {"get", "patch", "delete"}
    for operation in item.values():
        assert operation["parameters"][0]["name"] == "agent_id"
        assert operation["parameters"][0]["required"] is True


def test_what_the_path_says_leaves_the_body(api: dict[str, Any]) -> None:
    body = api["components"]["schemas"]["ChatRequest"]
    assert "message" in body["properties"]
    assert "agentId" not in body["properties"]
    assert "agentId" not in body.get("required", ())
    changed = api["components"]["schemas"]["UpdateAgentRequest.agent"]
    assert "id" not in changed["properties"]
    assert "config" in changed["properties"]
    assert "id" in api["components"]["schemas"]["Agent"]["properties"]


def test_query_holds_the_rest(api: dict[str, Any]) -> None:
    listed = parameters(api, "AgentService_ListAgents")
    assert set(listed) == {"pageSize", "pageToken", "states", "templateId", "idPrefix", "labels"}
    assert listed["labels"]["style"] == "deepObject"
    assert listed["states"]["schema"]["items"] == {"$ref": "#/components/schemas/AgentState"}
    assert set(parameters(api, "AgentService_UpdateAgent")) == {"agent_id", "updateMask"}
    assert "requestBody" not in operations(api)["AgentService_DeleteAgent"]


def test_nested_messages_are_dotted_and_end(probe: dict[str, Any]) -> None:
    found = parameters(probe, "Probe_Get")
    assert {"inner.title", "inner.labels", "inner.at", "wait", "mask", "theOddOne", "wrappedText"} <= set(found)
    assert not any(name.startswith(("inner.deeper", "children", "inners")) for name in found)
    assert found["big"]["schema"]["type"] == "string"


@pytest.mark.parametrize(
    ("operation", "name", "schema"),
    [
        ("Probe_Files", "name", {"type": "string", "pattern": "^files/.*$"}),
        ("Probe_Get_2", "name", {"type": "string", "pattern": "^things/[^/]+$"}),
        ("Probe_Get", "name", {"type": "string", "minLength": 1}),
        ("Probe_Typed_2", "big", INT64),
        ("Probe_Typed_9", "at", {"type": "string", "format": "date-time"}),
    ],
)  # fmt: skip
def test_path_parameter(probe: dict[str, Any], operation: str, name: str, schema: dict[str, Any]) -> None:
    assert parameters(probe, operation)[name]["schema"].items() >= schema.items()


def test_wild_segments_and_verbs_are_written(probe: dict[str, Any]) -> None:
    assert "/v1/any/{segment_2}/fixed/{name}" in probe["paths"]
    assert "/v1/things/{name}:cancel:now" in probe["paths"]
    assert set(probe["paths"]["/v1/whatever/{name}"]) == {"x-*"}


def test_the_last_of_two_same_paths_counts(probe: dict[str, Any]) -> None:
    assert probe["paths"]["/v1/same/{name}"]["get"]["operationId"] == "Probe_Last"


@pytest.mark.parametrize(
    ("operation", "schema"),
    [
        ("Probe_Create", {"$ref": "#/components/schemas/Everything"}),
        ("Probe_Create_2", {"$ref": "#/components/schemas/Inner"}),
        ("Probe_Create_3", {"type": "string"}),
        ("Probe_Create_4", {"type": "array", "items": {"type": "string"}}),
        ("Probe_Create_6", {"$ref": "#/components/schemas/Kind"}),
        ("Probe_Create_7", {"type": "object", "additionalProperties": {"type": "string"}}),
    ],
)
def test_body(probe: dict[str, Any], operation: str, schema: dict[str, Any]) -> None:
    assert operations(probe)[operation]["requestBody"]["content"]["application/json"]["schema"] == schema


def test_summary_is_the_first_sentence(probe: dict[str, Any]) -> None:
    assert operations(probe)["Probe_Get"]["summary"] == "Gets it"
    assert operations(probe)["Probe_Get"]["description"] == "Gets it. And more.\n- a list"
    assert "summary" not in operations(probe)["Probe_Files"]


# -- answers -----------------------------------------------------------------------------


def answers(found: dict[str, Any], operation: str) -> dict[str, Any]:
    content = operations(found)[operation]["responses"]["200"]["content"]
    return {media: answer.get("schema") for media, answer in content.items()}


def test_answers(probe: dict[str, Any], api: dict[str, Any]) -> None:
    assert answers(probe, "Probe_Picked") == {"application/json": {"type": "string"}}
    assert answers(probe, "Probe_Picked_2") == {"application/json": {"$ref": "#/components/schemas/Inner"}}
    assert answers(probe, "Special_Raw") == {"*/*": None}
    assert answers(probe, "Special_RawStream") == {"*/*": None}
    agent = answers(api, "AgentService_GetAgent")["application/json"]
    assert agent["$ref"] == "#/components/schemas/Agent"


def test_streams_say_both_their_forms(probe: dict[str, Any], api: dict[str, Any]) -> None:
    frames = answers(api, "EventService_Subscribe")
    assert frames["application/x-ndjson"] == {"$ref": "#/components/schemas/EventFrame"}
    assert frames["text/event-stream"]["type"] == "string"
    assert "Last-Event-ID" in parameters(api, "EventService_Subscribe")
    assert "Last-Event-ID" not in parameters(api, "AgentService_ListAgents")
    # A list of messages is cut into its elements, a list of texts is not.
    assert answers(probe, "Special_Count_2")["application/x-ndjson"] == {"$ref": "#/components/schemas/Inner"}
    lines = answers(of_probe("gateway"), "Special_Count")["application/json"]
    assert lines["properties"]["result"] == {"$ref": "#/components/schemas/Everything"}


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("big", INT64),
        ("small", {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 4294967295}),
        ("data", {"type": "string", "contentEncoding": "base64"}),
        ("counts", {"type": "object", "additionalProperties": INT64}),
        ("inners", {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Inner"}}),
        ("kinds", {"type": "array", "items": {"$ref": "#/components/schemas/Kind"}}),
        ("at", {"type": "string", "format": "date-time"}),
        ("wrappedText", {"type": ["string", "null"]}),
        ("free", {"type": "object", "additionalProperties": True}),
        ("value", {}),
        ("theOddOne", {"type": "string"}),
    ],
)  # fmt: skip
def test_field(probe: dict[str, Any], field: str, schema: dict[str, Any]) -> None:
    assert probe["components"]["schemas"]["Everything"]["properties"][field] == schema


def test_message(probe: dict[str, Any], api: dict[str, Any]) -> None:
    schemas = probe["components"]["schemas"]
    assert schemas["Kind"]["enum"] == ["KIND_UNSPECIFIED", "KIND_GOOD", "KIND_BAD"]
    assert "At most one of text, number, nested, other is set." in schemas["Everything"]["description"]
    assert "note" not in schemas["Everything"]["description"]
    assert api["components"]["schemas"]["CreateAgentRequest"]["required"] == ["config"]
    assert api["components"]["schemas"]["ModelConfig"]["properties"]["apiKey"]["writeOnly"] is True
    assert api["components"]["schemas"]["AgentState"]["description"].count("\n- AGENT_STATE_") >= 3


def test_empty_is_missing_in_requests_alone(api: dict[str, Any]) -> None:
    schemas = api["components"]["schemas"]
    assert schemas["CreateApiKeyRequest"]["properties"]["name"]["minLength"] == 1
    # Answers print what is empty, such as the defaults of a template.
    assert "minLength" not in schemas["AgentConfig"]["properties"]["templateId"]
    assert parameters(api, "AgentService_ListAgents")["pageSize"]["schema"]["minimum"] == 0


def test_comments_of_everything() -> None:
    found = contract_comments()
    assert found["aster.v1.AgentService"].startswith("Agents: create")
    assert found["aster.v1.AgentService.GetAgent"] == "Returns one agent."
    assert found["aster.v1.ListAgentsRequest.labels"].endswith("labels[key]=value.")
    assert found["aster.v1.AgentState.AGENT_STATE_STARTED"]
    assert found["aster.v1.SubscribeRequest.start_from"]
    assert comments_of(()) == {}
