"""Sequences, parallel steps, loops and routers: what runs, in which order, and what comes of it."""

from typing import Any

import pytest
from workflows.conftest import Bench
from workflows.plans import RUN_STATES, call, loop, say, sequence, step, together, told

from aster.v1 import workflow_pb2

pytestmark = pytest.mark.anyio
SUCCEEDED = workflow_pb2.WORKFLOW_RUN_STATE_SUCCEEDED
FAILED = workflow_pb2.WORKFLOW_RUN_STATE_FAILED


async def test_each_step_gets_what_the_one_before_gave(bench: Bench) -> None:
    plan = sequence("all", call("a", input="${input}1"), call("b", input="${previous}2"), call("c"))
    run = await bench.run(plan)
    assert (run.state, run.output) == (SUCCEEDED, "go12")
    assert bench.did == ["go1", "go12", "go12"]
    assert told(run.steps) == "all a b c"
    assert run.HasField("end_time")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${input} and ${inputs.name}", "go and Ann"),
        ("$${input}", "${input}"),
        ("${inputs.list}", "[1, 2]"),
        ("${ {'a': '}'}['a'] }", "}"),
        ("${steps['a']}/${steps.b}", "one/two"),
        ("${parse_json(inputs.json).n + 1}", "8"),
        ("${inputs.none}", ""),
    ],
)
async def test_templates(bench: Bench, text: str, expected: str) -> None:
    inputs = '{"name": "Ann", "list": [1, 2], "json": "{\\"n\\": 7}", "none": null}'
    plan = sequence("all", call("a", input="one"), call("b", input="two"), call("c", input=text))
    assert (await bench.run(plan, inputs_json=inputs)).output == expected


async def test_an_output_is_computed_of_the_result(bench: Bench) -> None:
    plan = sequence("all", call("a", output="result + '!'"), call("b"), output="steps.a + result")
    assert (await bench.run(plan)).output == "go!go!"


async def test_a_step_whose_condition_does_not_hold_is_passed_over(bench: Bench) -> None:
    plan = sequence("all", call("a", input="1"), call("b", when="previous == '2'", input="no"), call("c"))
    run = await bench.run(plan)
    assert told(run.steps) == "all a b=SKIPPED c"
    assert (run.output, bench.did) == ("1", ["1", "1"])


@pytest.mark.parametrize(
    ("join", "ends", "open_branches", "output"),
    [
        ("ALL", ["a", "b", "c"], [], "a\n\nb\n\nc"),
        ("FIRST", ["b"], ["a", "c"], "b"),
        ("MAJORITY", ["c", "a"], ["b"], "a\n\nc"),
        ("ANY", ["c", "b", "a"], [], "a\n\nb\n\nc"),
    ],
)
async def test_joins(bench: Bench, join: str, ends: list[str], open_branches: list[str], output: str) -> None:
    branches = [call(name, "held", input=name) for name in "abc"]
    run = await bench.begin(together("all", *branches, join=join))
    await bench.in_progress("a", "b", "c")
    for name in ends:
        bench.let(name)
        await bench.events(run, f'step_id: "{name}"\n    attempt: 1\n    state: WORKFLOW_STEP_STATE_SUCCEEDED')
    run = await bench.ended(run)
    assert (run.state, run.output) == (SUCCEEDED, output)
    assert sorted(one.step_id for one in run.steps if told([one]).endswith("CANCELED")) == open_branches


@pytest.mark.parametrize(
    ("join", "good", "expected"),
    [
        ("ALL", "ab", None), ("ANY", "c", "c"), ("ANY", "", None), ("FIRST", "b", "b"), ("FIRST", "", None),
        ("MAJORITY", "ac", "a\n\nc"), ("MAJORITY", "a", None),
    ],
)  # fmt: skip
async def test_joins_with_failures(bench: Bench, join: str, good: str, expected: str | None) -> None:
    for name in good:
        bench.answers[name] = str
    branches = [call(name, "fail", input=name) for name in "abc"]
    run = await bench.run(together("all", *branches, join=join))
    if expected is None:
        assert (run.state, run.output) == (FAILED, "")
        assert run.error.message
    else:
        assert (run.state, run.output) == (SUCCEEDED, expected)


async def test_no_more_than_max_concurrency_at_once(bench: Bench) -> None:
    branches = [call(name, "held", input=name) for name in "abcd"]
    run = await bench.begin(together("all", *branches, at_once=2))
    await bench.in_progress("a", "b")
    assert not {"c", "d"} & set(bench.began)
    bench.let("b")
    await bench.in_progress("c")
    assert "d" not in bench.began
    bench.let("a", "c", "d")
    assert (await bench.ended(run)).output == "a\n\nb\n\nc\n\nd"


@pytest.mark.parametrize(
    ("control", "output", "rounds"),
    [
        ({}, "go....", 4),
        ({"whileExpression": "size(previous) < 4"}, "go..", 2),
        ({"untilExpression": "previous.endsWith('...')"}, "go...", 3),
        ({"whileExpression": "round <= 1"}, "go.", 1),
        ({"whileExpression": "false"}, "go", 0),
        ({"forEachExpression": "[1, 2]"}, "go..", 2),
        ({"forEachExpression": "inputs.many"}, "go....", 4),
    ],
)
async def test_loops(bench: Bench, control: dict[str, Any], output: str, rounds: int) -> None:
    plan = loop("l", call("body", input="${previous}."), most=4, **control)
    run = await bench.run(plan, inputs_json='{"many": [1, 2, 3, 4, 5, 6]}')
    assert (run.state, run.output) == (SUCCEEDED, output)
    assert [one.iteration for one in run.steps[1:]] == list(range(1, rounds + 1))


async def test_items_and_rounds_of_nested_loops(bench: Bench) -> None:
    inner = loop("inner", call("body", input="${item}${round}"), forEachExpression="item")
    run = await bench.run(loop("outer", inner, forEachExpression='[["a", "b"], ["c"]]'))
    assert bench.did == ["a1", "b2", "c1"]
    assert told(run.steps) == "outer inner.1 body.1 body.2 inner.2 body.1"


async def test_a_loop_over_no_list_fails_its_step(bench: Bench) -> None:
    run = await bench.run(loop("l", call("body"), forEachExpression="inputs.x"), inputs_json='{"x": 3}')
    assert run.state == FAILED
    assert "is no list" in run.error.message


ROUTES: list[dict[str, Any]] = [
    {"when": "input == 'x'", "step": call("x", input="X"), "description": "for x"},
    {"when": "input.startsWith('y')", "step": call("y", input="Y"), "description": "for y"},
]


@pytest.mark.parametrize(
    ("message", "otherwise", "output"),
    [("x", True, "X"), ("yes", True, "Y"), ("no", True, "else"), ("no", False, "no")],
)
async def test_a_router_takes_the_first_route_that_holds(
    bench: Bench, message: str, otherwise: bool, output: str
) -> None:
    routes: dict[str, Any] = {"routes": ROUTES}
    if otherwise:
        routes["otherwise"] = call("other", input="else")
    run = await bench.run(step("r", router=routes), message)
    assert (run.state, run.output) == (SUCCEEDED, output)


@pytest.mark.parametrize(("answer", "output"), [("y", "Y"), ("`x`.", "X"), ("neither", "go")])
async def test_an_agent_chooses_the_route(bench: Bench, answer: str, output: str) -> None:
    agent = await bench.server.agent(bench.server.script(f"choose_{output}", f"- - text: {answer!r}\n"))
    run = await bench.run(step("r", router={"routes": ROUTES, "chooserAgentId": agent}))
    assert (run.state, run.output) == (SUCCEEDED, output)
    assert run.steps[0].turn_id
    assert run.steps[0].agent_id == agent


async def test_the_events_tell_each_change_once_and_in_order(bench: Bench) -> None:
    run = await bench.run(sequence("all", call("a"), say("b")))
    events = await bench.events(run)
    own = [event for event in events if not event.agent_id]
    assert [event.sequence for event in own] == list(range(1, len(own) + 1))
    assert {event.workflow_run_id for event in events} == {run.id}
    assert [_short(event) for event in own] == [
        "RUNNING", "all=RUNNING", "a=RUNNING", "a", "b=RUNNING", "b", "all", "SUCCEEDED",
    ]  # fmt: skip
    turn = [event for event in events if event.agent_id]
    assert {event.turn_id for event in turn} == {run.steps[2].turn_id}
    assert turn[-1].event_type in ("progress.complete", "monitor.state_changed")


def _short(event: Any) -> str:
    if event.event_type == "monitor.workflow_run":
        return RUN_STATES[event.monitor.workflow_run.state]
    return told([event.monitor.workflow_step])
