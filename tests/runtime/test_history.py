"""What a provider is sent is always valid, whatever the history looks like (R4)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.helpers import check_history, shape, user

from aster.v1 import common_pb2
from asteros.runtime import history
from asteros.runtime.history import ForModel, closed, for_model

Message = common_pb2.Message
INTERRUPTED = {"ok": False, "error": "interrupted"}


def assistant(*call_ids: str, text: str = "") -> Message:
    blocks = [common_pb2.ContentBlock(text=text)] if text else []
    blocks += [common_pb2.ContentBlock(tool_call=common_pb2.ToolCall(id=i, name="Read")) for i in call_ids]
    return Message(role=common_pb2.ROLE_ASSISTANT, content=blocks)


def tool(*call_ids: str) -> Message:
    made = (common_pb2.ToolResult(call_id=i, name="Read", output_json=json.dumps(i)) for i in call_ids)
    return history.tool_message(made, "t1")


def system(text: str = "s") -> Message:
    return Message(role=common_pb2.ROLE_SYSTEM, content=[common_pb2.ContentBlock(text=text)])


ids = st.lists(st.sampled_from("abcd"), max_size=3, unique=True)
anything = st.lists(
    st.one_of(
        st.builds(lambda: user("hi")),
        st.builds(system),
        ids.map(lambda chosen: assistant(*chosen, text="x")),
        ids.map(lambda chosen: tool(*chosen)),
    ),
    max_size=12,
)


@given(anything)
@settings(max_examples=500)
def test_whatever_happened_it_is_valid(messages: list[Message]) -> None:
    sent = for_model(messages)
    check_history(sent)
    assert for_model(sent) == sent, "again changes nothing"


@given(anything)
@settings(max_examples=300)
def test_nothing_but_results_is_lost_and_nothing_is_changed(messages: list[Message]) -> None:
    copies = [Message.FromString(message.SerializeToString()) for message in messages]
    sent = for_model(messages)
    assert messages == copies
    for role in (common_pb2.ROLE_USER, common_pb2.ROLE_ASSISTANT, common_pb2.ROLE_SYSTEM):
        assert [m for m in sent if m.role == role] == [m for m in messages if m.role == role]


@given(anything)
@settings(max_examples=300)
def test_a_history_that_grows_is_looked_at_once_and_sent_the_same(messages: list[Message]) -> None:
    growing = ForModel()
    for count in range(len(messages) + 1):
        assert growing.of(messages[:count]) == for_model(messages[:count])
    assert growing.of(messages[:1]) == for_model(messages[:1]), "something was taken back"


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        ([], 0),
        ([user("x"), assistant(text="y")], 2),
        ([user("x"), assistant("a")], 1),
        ([user("x"), assistant("a"), system()], 1),
        ([user("x"), assistant("a"), tool("a")], 3),
        ([user("x"), assistant("a"), tool("a"), assistant("b"), user("y")], 3),
        ([user("x"), assistant("a"), user("y"), assistant(text="z")], 4),
    ],
)
def test_where_a_copy_may_end(messages: list[Message], count: int) -> None:
    assert closed(messages) == count


@given(anything)
def test_a_valid_history_is_sent_as_it_is(messages: list[Message]) -> None:
    sent = for_model(messages)
    assert for_model([*sent, user("more")])[: len(sent)] == sent


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([user("x"), assistant("a"), system(), tool("a")], "u a1 t1 s"),
        ([user("x"), assistant("a"), system(), system(), user("y")], "u a1 t1 s s u"),
        ([user("x"), assistant("a", "b"), tool("b")], "u a2 t2"),
        ([user("x"), assistant("a"), tool("z")], "u a1 t1"),
        ([tool("a"), user("x")], "u"),
        ([assistant("a"), assistant("b"), tool("b")], "a1 t1 a1 t1"),
        ([assistant("a")], "a1 t1"),
        ([assistant("a"), system()], "a1 t1 s"),
        ([], ""),
    ],
)
def test_repairs(messages: list[Message], sent: str) -> None:
    assert shape(for_model(messages)) == sent


def _results(messages: list[Message]) -> list[tuple[str, object]]:
    return [(r.call_id, json.loads(r.output_json)) for m in messages for r in history.results_of(m)]


def test_a_result_behind_a_system_message_is_the_result() -> None:
    sent = for_model([user("x"), assistant("a", "b"), system(), system(), tool("b", "a"), user("y")])
    assert shape(sent) == "u a2 t2 s s u"
    assert _results(sent) == [("a", "a"), ("b", "b")]


@given(st.lists(st.tuples(ids, st.booleans(), st.booleans()), max_size=6))
def test_no_result_that_was_given_is_lost(steps: list[tuple[list[str], bool, bool]]) -> None:
    messages: list[Message] = []
    expected: list[tuple[str, object]] = []
    for chosen, told, answered in steps:
        messages.append(assistant(*chosen, text="x"))
        messages += [system()] * told + [tool(*chosen)] * (answered and bool(chosen))
        expected += [(i, i if answered else INTERRUPTED) for i in chosen]
    assert _results(for_model(messages)) == expected


def test_a_call_without_a_result_was_interrupted() -> None:
    _, repaired = for_model([assistant("a", "b"), tool("b")])
    told = [(r.call_id, r.name, json.loads(r.output_json), r.is_error) for r in history.results_of(repaired)]
    assert told == [("a", "Read", INTERRUPTED, True), ("b", "Read", "b", False)]


@pytest.mark.parametrize(
    ("messages", "left"),
    [
        ([user("x")], ""),
        ([assistant("a", "b")], "ab"),
        ([assistant("a"), system()], "a"),
        ([assistant("a"), tool("a")], ""),
        ([assistant("a"), tool("a"), user("x")], ""),
        ([assistant("a"), tool("a"), assistant("b")], "b"),
        ([assistant(text="done")], ""),
    ],
)
def test_open_calls(messages: list[Message], left: str) -> None:
    assert "".join(call.id for call in history.open_calls(messages)) == left
