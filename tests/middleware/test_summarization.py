"""A conversation longer than the window: what the model sees, what is kept, what it costs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from middleware.conversations import called_tokens, check_requests, long_talk, talk
from middleware.helpers import Plays, Probe, restarted, sent, sent_texts, settings, text_message, tokens
from runtime.helpers import World, call, check_events, check_history, of

from aster.v1 import agent_pb2, common_pb2
from asteros.middleware.summarization import Summarization, _fitted, _place
from asteros.middleware.transcript import MEDIA_BYTES, parts, size_of
from asteros.providers.pairing import for_model

pytestmark = pytest.mark.anyio
WINDOW = 1000
SMALL = {"window": WINDOW}
LONG = "This is what I say at some length, so that the window fills. " * 5


def summaries(at: int = -1) -> list[str]:
    return [text for text in sent_texts(at) if text.startswith("[This conversation is longer")]


async def test_a_short_conversation_is_sent_whole(world: World) -> None:
    agent = await world.agent(["ok"], tools=[], **settings(summarization=SMALL))
    await talk(world, agent, ["one", "two", "three"])
    assert sent_texts() == ["one", "ok", "two", "ok", "three"]
    assert not of(await world.events(agent), "session_summarized")


async def test_a_long_one_goes_on_as_summary_and_newest_part(world: World) -> None:
    agent = await world.agent(["The short of it."], tools=[], **settings(summarization=SMALL))
    await talk(world, agent, [f"{number} {LONG}" for number in range(20)])
    check_requests(Probe.seen, WINDOW)
    (summary,) = summaries()
    assert "The short of it." in summary
    assert sent_texts()[-1].startswith("19 ")
    assert len(sent().messages) < 20
    stored = await world.messages(agent)
    assert len(stored) == 40, "what is stored stays whole"
    assert agent.conversations.loaded(agent.row.default_session_id).session.message_count == 40  # type: ignore[union-attr]


async def test_it_is_told_and_counted(world: World) -> None:
    world.prices.of_a_token = 0.001
    agent = await world.agent(["The short of it."], tools=[], **settings(summarization=SMALL))
    await talk(world, agent, [f"{number} {LONG}" for number in range(12)])
    events = await world.events(agent)
    told = of(events, "session_summarized")
    assert told
    for each in told:
        assert each.messages_after < each.messages_before
        assert each.tokens_after < each.tokens_before <= WINDOW
        assert each.summary_preview == "The short of it."
    calls = of(events, "model_call")
    assert len(calls) == 12 + len(told), "each summary is a model call of its own"
    assert agent.lifecycle.status.total_tokens == sum(each.usage.total_tokens for each in calls)
    assert agent.lifecycle.status.total_cost_usd == pytest.approx(sum(each.cost_usd for each in calls))
    assert max(called_tokens(events)) <= WINDOW
    check_events(events)


async def test_the_summary_survives_a_restart(world: World) -> None:
    agent = await world.agent(["The short of it."], tools=[], **settings(summarization=SMALL))
    await talk(world, agent, [f"{number} {LONG}" for number in range(10)])
    count = len(of(await world.events(agent), "session_summarized"))
    agent = await restarted(world, agent)
    await talk(world, agent, ["and now"])
    assert len(summaries()) == 1
    assert len(of(await world.events(agent), "session_summarized")) == count, "it is not made again"


async def test_tool_calls_keep_their_results(world: World) -> None:
    calls = [common_pb2.ToolCall(id=f"c{n}", name="big", input_json='{"size": 600}') for n in range(30)]
    Plays.replies = [*calls, "done"]
    agent = await world.agent(["The short of it."], tools=["big"], **settings(summarization=SMALL, plays=None))
    await talk(world, agent, ["do the work with the number 7411"])
    check_requests(Plays.asked, WINDOW)
    # One turn fills the window: what it is about must not be lost in the summary.
    assert "do the work with the number 7411" in summaries()[0]
    check_history(await world.messages(agent))


async def test_instructions_given_on_the_way_are_kept_word_by_word(world: World) -> None:
    agent = await world.agent(["ok"], tools=[], **settings(summarization=SMALL))
    await talk(world, agent, ["first"])
    await agent.conversations.system_message("Always answer in Latin.", "", None)
    await talk(world, agent, [f"{number} {LONG}" for number in range(12)])
    assert "Always answer in Latin." in summaries()[0]
    agent = await restarted(world, agent)
    await talk(world, agent, [f"{number} {LONG}" for number in range(12)])
    assert "Always answer in Latin." in summaries()[0]


async def test_a_result_larger_than_the_window_is_cut_to_fit(world: World) -> None:
    agent = await world.agent(
        [call("big", "c1", size=50_000)], ["done"], tools=["big"], **settings(summarization=SMALL)
    )
    await talk(world, agent, ["go"])
    check_requests(Probe.seen, WINDOW)


async def test_a_long_history_that_meets_it_late_is_taken_in_parts(world: World) -> None:
    agent = await world.agent(["A line."], tools=[], middlewares=["probe"])
    await talk(world, agent, [f"{number} {LONG}" for number in range(60)])
    assert tokens([sent()])[0] > 3 * WINDOW
    changed = agent_pb2.Agent()
    changed.CopyFrom(agent.row.agent)
    changed.config.middlewares[:] = ["summarization", "probe"]
    changed.config.middleware_config_json["summarization"] = f'{{"window": {WINDOW}}}'
    agent.updated(changed)
    before = len(of(await world.events(agent), "model_call"))
    Probe.seen.clear()
    await talk(world, agent, ["and now"])
    check_requests(Probe.seen, WINDOW)
    calls = of(await world.events(agent), "model_call")[before:]
    assert len(calls) > 3
    assert max(each.usage.input_tokens for each in calls) <= WINDOW


async def test_a_summary_that_fails_fails_the_turn_and_the_next_tries_again(world: World) -> None:
    agent = await world.agent([{"text": "ok"}], tools=[], **settings(summarization=SMALL))
    turns = [f"{number} {LONG}" for number in range(3)]
    await talk(world, agent, turns)
    world.script([{"fail": "rejected"}], name="a1")
    failed = [await world.turn(agent, LONG) for _ in range(14)][-1]
    assert failed.state == agent_pb2.TURN_STATE_FAILED
    world.script(["ok"], name="a1")
    await talk(world, agent, [LONG])
    assert len(summaries()) == 1
    check_requests(Probe.seen[-1:], WINDOW)


async def test_two_sessions_have_two_summaries(world: World) -> None:
    from aster.v1 import session_service_pb2

    agent = await world.agent(["ok"], tools=[], **settings(summarization=SMALL))
    await agent.conversations.add(session_service_pb2.Session(id="s2", agent_id="a1"), None)
    await talk(world, agent, [f"{number} {LONG}" for number in range(10)])
    await world.turn(agent, "hello", session_id="s2")
    assert sent_texts() == ["hello"]


async def test_what_the_provider_counts_corrects_the_estimate(world: World) -> None:
    """A provider that counts a token for every two bytes: the estimate alone would cross the window."""
    Plays.replies = ["ok"] * 200
    agent = await world.agent(["The short of it."], tools=[], **settings(summarization=SMALL, counts=None))
    await talk(world, agent, [f"{number} {LONG[:150]}" for number in range(30)])
    assert max(2 * each for each in tokens(Probe.seen[1:])) <= WINDOW


# -- the parts ------------------------------------------------------------------------------


def test_the_newest_part_begins_at_what_was_said_and_has_an_id() -> None:
    user = text_message(common_pb2.ROLE_USER, "u" * 100)
    tool = text_message(common_pb2.ROLE_TOOL, "t" * 100)
    nameless = text_message(common_pb2.ROLE_ASSISTANT, "a" * 100)
    named = text_message(common_pb2.ROLE_ASSISTANT, "a" * 100)
    user.id = named.id = "m"
    assert _place([user, named, tool, user], 150) == 3
    assert _place([user, named, tool], 150) == 1, "a result never begins"
    assert _place([user, nameless, tool], 10) == 0
    assert _place([user, user], 10_000) == 0, "all of it fits"
    assert _place([user, user], 1) == 1, "one message always stays"


SHAPES = st.lists(st.sampled_from("uast"), max_size=15)


@given(SHAPES, st.integers(0, 5000))
def test_wherever_it_is_cut_no_call_is_parted_from_its_result(shapes: list[str], room: int) -> None:
    said = []
    for number, letter in enumerate(shapes):
        role = {"u": common_pb2.ROLE_USER, "s": common_pb2.ROLE_SYSTEM}.get(letter, common_pb2.ROLE_ASSISTANT)
        message = text_message(role, "x" * 200)
        message.id = f"m{number}"
        if letter == "t":
            message.content.add(tool_call=common_pb2.ToolCall(id=f"c{number}", name="x"))
        said.append(message)
    messages = for_model(said)
    cut = _place(messages, room)
    check_history(messages[cut:])
    assert cut < max(len(messages), 1), "something is left"
    if cut:
        assert messages[cut].id
        assert messages[cut].role in (common_pb2.ROLE_USER, common_pb2.ROLE_ASSISTANT)


def test_shortening_ends_even_when_nothing_helps() -> None:
    said = [text_message(common_pb2.ROLE_USER, "u" * 10_000)]
    assert _fitted(said, 100) == said


def test_a_file_counts_for_what_a_model_takes_and_not_for_its_bytes() -> None:
    message = common_pb2.Message(role=common_pb2.ROLE_USER)
    message.content.add(media=common_pb2.Media(data=b"x" * 1_000_000, media_type="image/png"))
    assert size_of(message) < MEDIA_BYTES + 100


def test_a_transcript_is_cut_into_parts_that_fit() -> None:
    messages = [text_message(common_pb2.ROLE_USER, f"{number} " + "é" * 300) for number in range(20)]
    found = list(parts(messages, 1000))
    assert max(len(part.encode()) for part in found) <= 1000
    assert sum(part.count("person:") for part in found) == 20
    assert list(parts([], 1000)) == []


def test_settings_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="keep"):
        Summarization({"trigger": 0.5, "keep": 0.4})


# -- acceptance, in small: the long form is in robustness --------------------------------------


async def test_500_messages_stay_inside_the_window_and_replay(tmp_path: Path) -> None:
    events, stored = await long_talk(tmp_path, 250, SMALL)
    assert len(stored) == 500
    check_requests(Probe.seen, WINDOW)
    assert max(called_tokens(events)) <= WINDOW
    assert len(of(events, "complete")) == 250
