"""Spans of model and tool calls as OpenTelemetry's GenAI conventions name them; nothing without a tracer."""

from collections.abc import Iterator

import pytest
from middleware.helpers import settings
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from runtime.helpers import World, call

from asteros.middleware.telemetry import Telemetry
from asteros.providers.base import ModelRequest

pytestmark = pytest.mark.anyio


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What a program has exported that set up a tracer before it started the server."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def facts(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_turn_in_spans(world: World, exported: InMemorySpanExporter) -> None:
    steps = ([call("plain", "c1", text="secret words")], ["done"])
    agent = await world.agent(*steps, **settings(telemetry=None))
    turn = await world.turn(agent, "secret question")
    first, tool, second = exported.get_finished_spans()
    assert [span.name for span in (first, tool, second)] == ["chat script:a1", "execute_tool plain", "chat script:a1"]
    told = facts(second)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "scripted"
    assert told["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert told["gen_ai.agent.id"] == "a1"
    assert told["gen_ai.conversation.id"] == turn.session_id
    counted = [facts(span)["gen_ai.usage.input_tokens"] for span in (first, second)]
    assert sum(counted) == turn.usage.input_tokens  # type: ignore[arg-type]
    assert facts(tool)["gen_ai.tool.call.id"] == "c1"
    assert "secret" not in str([facts(span) for span in (first, tool, second)])


async def test_failures_are_told_by_their_type(world: World, exported: InMemorySpanExporter) -> None:
    steps = ([call("fails", "c1"), call("raises", "c2")], [{"fail": "rejected"}])
    agent = await world.agent(*steps, **settings(telemetry=None))
    await world.turn(agent)
    kinds = {span.name: facts(span).get("error.type") for span in exported.get_finished_spans()[1:]}
    assert kinds == {
        "execute_tool fails": "tool_error",
        "execute_tool raises": "RuntimeError",
        "chat script:a1": "PROVIDER_REJECTED",
    }
    assert all(span.status.status_code is trace.StatusCode.ERROR for span in exported.get_finished_spans()[1:])


async def test_an_interrupt_ends_the_span(world: World, exported: InMemorySpanExporter) -> None:
    agent = await world.agent(model="flood:100000@50", **settings(telemetry=None))
    said = await world.say(agent)
    await world.seen(agent, "text_chunk")
    await agent.mailbox.interrupt(said.turn.id, "enough")
    assert [span.name for span in exported.get_finished_spans()] == ["chat flood:100000@50"]


async def test_without_a_tracer_the_answer_passes_untouched(world: World) -> None:
    ring = Telemetry({})
    given = object()

    async def proceed(request: ModelRequest) -> object:
        return given

    class Context:
        agent_id = session_id = "x"

    config = (await world.agent(["hi"])).config.model_config
    assert await ring.wrap_model_call(ModelRequest(config, []), Context(), proceed) is given  # type: ignore[arg-type]
