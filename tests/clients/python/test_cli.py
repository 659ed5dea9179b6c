"""The command, run as a process against the fake server."""

import asyncio
import json
import signal
import sys

import grpc
import pytest
from clients.python.fake_log import Fault
from clients.python.fake_server import FakeAster
from clients.python.process import begin
from typer.testing import CliRunner

from aster import errors
from aster.cli import app
from aster.cli.output import explain
from aster.v1 import common_pb2, control_service_pb2, event_pb2

pytestmark = pytest.mark.anyio


async def aster(fake: FakeAster, *args: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of one command."""
    process = await begin(fake, *args)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def succeed(fake: FakeAster, *args: str) -> str:
    code, out, err = await aster(fake, *args)
    assert (code, err) == (0, "")
    return out


async def test_chat_shows_the_turn(fake: FakeAster) -> None:
    assert await succeed(fake, "chat", "a", "-m", "你好") == "echo: 你好\n"
    assert fake.authorization == ["Bearer key"]


async def test_chat_without_an_agent_makes_the_demo_once(fake: FakeAster) -> None:
    for _ in range(2):
        assert await succeed(fake, "chat", "-m", "hi") == "echo: hi\n"
    request = fake.requests("CreateAgent")[0]
    assert (request.agent_id, request.config.template_id) == ("demo", "demo")


async def test_chat_as_json_is_one_frame_a_line(fake: FakeAster) -> None:
    frames = [json.loads(line) for line in (await succeed(fake, "chat", "a", "-m", "hi", "--json")).splitlines()]
    assert [frame["event"]["eventType"].partition(".")[2] for frame in frames] == [
        "text_chunk",
        "text_chunk",
        "text_done",
        "complete",
    ]
    assert frames[-1]["event"]["progress"]["complete"]["stopReason"] == "STOP_REASON_END_TURN"
    assert frames[-1]["cursor"] == "g4"


async def test_a_failed_turn_is_one_line_and_exit_1(fake: FakeAster) -> None:
    for extra in ((), ("--json",)):
        code, out, err = await aster(fake, "chat", "a", "-m", "fail", *extra)
        assert (code, "echo: fail" in out) == (1, True)
    code, out, err = await aster(fake, "chat", "a", "-m", "fail")
    assert err == "error: the provider failed [PROVIDER_UNAVAILABLE]\n"


async def test_an_approval_without_a_terminal_waits_for_another_command(fake: FakeAster) -> None:
    process = await begin(fake, "chat", "a", "-m", "write it")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    assert lines[0].startswith('⚠️ Write {"path": "/hello.txt"}')
    pending_id = lines[2].split()[-1]
    assert f"aster approvals approve {pending_id}" in lines[2]

    listed = await succeed(fake, "approvals", "list")
    assert listed.splitlines()[1].split()[:4] == [pending_id, "a", "tool", "Write"]
    (row,) = (await succeed(fake, "approvals", "list", "--json")).splitlines()
    assert json.loads(row)["toolApproval"]["call"]["id"] == "toolu_1"
    edited = '{"path": "/other.txt"}'
    done = await succeed(
        fake, "approvals", "approve", "toolu_1", "--note", "fine", "--edit", edited, "--scope", "session"
    )
    assert done == f"allowed {pending_id}\n"
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == f"🔧 Write {edited}\n✅ Write (12 ms)\necho: write it\n"
    request = fake.requests("ApproveToolCall")[0]
    assert (request.note, request.scope) == ("fine", control_service_pb2.DECISION_SCOPE_SESSION)
    assert len(request.input_digest) == 64


async def test_deny_and_answer(fake: FakeAster) -> None:
    row = control_service_pb2.PendingRequest
    options = [{"label": "blue"}, {"label": "red"}]
    fake.pending["q"] = row(id="q", agent_id="a", user_input={"prompt": "Which?", "options": options})
    fake.pending["t"] = row(id="t", agent_id="a", tool_approval={"call": {"name": "Bash"}})
    assert await succeed(fake, "approvals", "deny", "t", "--note", "no") == "denied t\n"
    assert fake.requests("ApproveToolCall")[0].decision == control_service_pb2.DECISION_DENY
    for args in (("--option", "2"), ("green",), ("--dismiss",)):
        assert await succeed(fake, "approvals", "answer", "q", *args) == "answered q\n"
    sent = [(r.text, list(r.option_indexes), r.dismiss) for r in fake.requests("RespondToInputRequest")]
    assert sent == [("", [1], False), ("green", [], False), ("", [], True)]
    code, _, err = await aster(fake, "approvals", "approve", "q")
    assert (code, err) == (1, "error: q is a question: use `aster approvals answer q`\n")
    code, _, err = await aster(fake, "approvals", "approve", "nothing")
    assert (code, "nothing open has the id nothing" in err) == (1, True)


async def test_agents(fake: FakeAster) -> None:
    made = await succeed(
        fake, "agents", "create", "x", "--template", "chat", "--tool", "bash", "--permission", "Write=ask"
    )
    assert made == "created x\n"
    assert fake.requests("CreateAgent")[0].config.tool_permissions["Write"] == 2
    assert (await succeed(fake, "agents", "list")).splitlines() == [
        "AGENT  STATE    ACTIVITY  TEMPLATE  MODEL",
        "a      created  idle",
        "x      created  idle      chat",
    ]
    shown = json.loads(await succeed(fake, "agents", "show", "x", "--json"))
    assert (shown["id"], shown["config"]["templateId"]) == ("x", "chat")
    assert "created" in await succeed(fake, "agents", "show", "x")
    assert await succeed(fake, "agents", "start", "x") == "started x\n"
    assert await succeed(fake, "agents", "close", "x") == "closed x\n"
    assert json.loads(await succeed(fake, "agents", "delete", "x", "--force", "--json")) == {"id": "x"}
    assert json.loads(await succeed(fake, "agents", "list", "--json"))["id"] == "a"


async def test_status(fake: FakeAster) -> None:
    assert json.loads(await succeed(fake, "status", "a", "--json"))["state"] == "AGENT_STATE_CREATED"
    assert "state          created" in await succeed(fake, "status", "a")


async def test_sessions(fake: FakeAster) -> None:
    await succeed(fake, "chat", "a", "-m", "hi", "--session", "s1")
    assert (await succeed(fake, "sessions", "list")).splitlines()[1].split() == ["s1", "2"]
    call = {"tool_call": {"name": "Write", "input_json": "{}"}}
    result = {"tool_result": {"name": "Write", "output_json": '{"ok": false}', "is_error": True}}
    fake.messages["s2"] = [common_pb2.Message(role="ROLE_ASSISTANT", content=[call])]
    fake.messages["s2"].append(common_pb2.Message(role="ROLE_TOOL", content=[result]))
    assert await succeed(fake, "sessions", "messages", "s1") == "user: hi\nassistant: echo: hi\n"
    shown = await succeed(fake, "sessions", "messages", "s2")
    assert shown == 'assistant:\n  🔧 Write {}\ntool:\n  ❌ Write {"ok": false}\n'
    assert json.loads((await succeed(fake, "sessions", "list", "--json")).splitlines()[0])["id"] == "s1"
    messages = (await succeed(fake, "sessions", "messages", "s1", "--json")).splitlines()
    assert [json.loads(line)["role"] for line in messages] == ["ROLE_USER", "ROLE_ASSISTANT"]


async def test_events_tail(fake: FakeAster) -> None:
    await fake.texts("a", "one", "\x1b[2Jtwo")
    await fake.emit("a", "progress.complete", event_pb2.TurnComplete(), "trn_1")
    tail = ("events", "tail", "a", "--channel", "progress", "--until-complete")
    lines = (await succeed(fake, *tail, "--from", "earliest")).splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:2]] == [
        'a #1 progress.text_chunk {"delta": "one"}',
        'a #2 progress.text_chunk {"delta": "\\u001b[2Jtwo"}',
    ]
    frames = [json.loads(line) for line in (await succeed(fake, *tail, "--from", "g2", "--json")).splitlines()]
    assert [(frame["cursor"], frame["event"]["sequence"]) for frame in frames] == [("g3", "3")]
    request = fake.requests("Subscribe")[1]
    assert (request.cursor, list(request.channels), request.until_turn_complete) == ("g2", [1], True)


async def test_what_a_model_writes_cannot_steer_the_terminal(fake: FakeAster) -> None:
    assert await succeed(fake, "chat", "a", "-m", "a\x1b[2Jb\rc\td") == "echo: a[2Jbc\td\n"


async def test_tail_says_that_it_lost_the_server_and_goes_on(fake: FakeAster) -> None:
    process = await begin(fake, "events", "tail", "--until-complete")
    assert process.stdout is not None
    assert process.stderr is not None
    await fake.until(lambda: fake.open_streams == 1)
    await fake.texts("a", "seen")
    await process.stdout.readline()
    await fake.stop()
    assert (await process.stderr.readline()).decode().startswith(f"connection to {fake.address} lost, trying again: ")
    await fake.start(int(fake.address.rpartition(":")[2]))
    await fake.until(lambda: len(fake.requests("Subscribe")) == 2 and fake.open_streams == 1)
    await fake.emit("a", "progress.complete", event_pb2.TurnComplete(), "trn_1")
    out, err = await process.communicate()
    assert (process.returncode, out.count(b"progress.complete")) == (0, 1)
    assert all(line.startswith(b"connection to") for line in err.splitlines())


async def test_ctrl_c_is_130(fake: FakeAster) -> None:
    process = await begin(fake, "events", "tail")
    await fake.until(lambda: fake.open_streams == 1)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


async def test_a_failure_is_one_line_that_says_what_to_do(fake: FakeAster) -> None:
    fake.faults["GetStatus"].append(Fault(grpc.StatusCode.UNAUTHENTICATED, "INVALID_CREDENTIALS", "no\nkey"))
    code, out, err = await aster(fake, "status", "a")
    assert (code, out) == (1, "")
    assert err == "error: no key [INVALID_CREDENTIALS]; set ASTER_API_KEY, or give --api-key\n"


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            Fault(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_REQUIRED", "no", {"scope": "agents:read"}),
            "no [SCOPE_REQUIRED]; the key lacks the scope agents:read",
        ),
        (
            Fault(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION", "bad", violations=(("agent_id", "too long"),)),
            "bad [FIELD_VIOLATION]; agent_id: too long",
        ),
        (
            Fault(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", "slow", retry_after=2.0),
            "slow [RATE_LIMITED]; try again in 2 s",
        ),
    ],
    ids=lambda value: value.reason if isinstance(value, Fault) else "",
)
async def test_hints(fault: Fault, line: str) -> None:
    assert explain(errors.from_status(fault.status()), "host:1") == line


async def test_without_a_server_it_says_how_to_start_one(fake: FakeAster) -> None:
    await fake.stop()
    for args in (("agents", "list"), ("events", "tail")):
        code, _, err = await aster(fake, *args)
        hint = f"error: cannot reach {fake.address}: start it with `make run`, or set ASTER_ADDRESS\n"
        assert (code, err) == (1, hint)


async def test_usage_errors_are_2() -> None:
    for line in (
        "nonsense",
        "chat --json",
        "events tail --channel x",
        "approvals answer q",
        "approvals deny q --scope x",
        "agents create y --permission Write=maybe",
    ):
        assert CliRunner().invoke(app, line.split()).exit_code == 2


async def test_help_loads_no_grpc() -> None:
    code = "import sys; import aster.cli; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
