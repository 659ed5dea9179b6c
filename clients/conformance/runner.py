"""The Python runner of the story: plays scenario.json with the client ``aster``."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aster import AgentConfig, AsterClient, AsterError, EventView, PermissionPolicy, errors
from aster.types import word
from aster.v1 import (
    agent_pb2,
    common_pb2,
    event_pb2,
    stars_service_pb2,
    stars_service_pb2_grpc,
)

Step = dict[str, Any]
EVENTS_SHOWN = ("progress", "control")


def say(line: str) -> None:
    """One line of the transcript."""
    print(line.replace("\n", "\\n"), flush=True)


async def wish(what: str) -> None:
    """Asks the test for something and waits until it is done."""
    say(f"! {what}")
    await asyncio.to_thread(sys.stdin.readline)


def event_line(event: EventView) -> str:
    """One event as the README says."""
    more: tuple[str, ...] = ()
    match event.payload:
        case event_pb2.TextDone() as done:
            more = (done.text,)
        case event_pb2.ToolStart() as start:
            more = (start.call.name,)
        case event_pb2.ToolEnd() as end:
            more = (end.result.name, word(common_pb2.ToolCallState, end.state))
        case event_pb2.TurnComplete() as complete:
            more = (word(agent_pb2.TurnState, complete.state), word(agent_pb2.StopReason, complete.stop_reason))
        case event_pb2.ToolApprovalRequest() as approval:
            more = (approval.call.name,)
        case event_pb2.UserInputRequest() as question:
            more = (question.prompt,)
        case event_pb2.RequestResolved() as resolved:
            more = (word(event_pb2.ResolutionOutcome, resolved.outcome),)
    return " ".join((event.type, *more))


def say_event(event: EventView) -> None:
    if event.kind != "text_chunk":
        say(event_line(event))


def error_line(error: AsterError, show: list[str]) -> str:
    """One failure as the README says."""
    parts = ["error", error.code.name, error.reason or "-"]
    parts += [f"{key}={error.metadata.get(key, '')}" for key in show]
    if error.violations:
        parts.append("fields=" + ",".join(violation.field for violation in error.violations))
    return " ".join(parts)


class Runner:
    """The story so far: one client, and the cursors that steps have kept."""

    def __init__(self) -> None:
        self.client = self.connect()
        self.cursors: dict[str, str] = {}

    @staticmethod
    def connect(key: str | None = None) -> AsterClient:
        return AsterClient(api_key=key, ca=os.environ.get("ASTER_CA") or None)

    async def play(self, step: Step) -> None:
        say(f"# {step['name']}")
        play: Callable[[Step], Coroutine[Any, Any, None]] = getattr(self, step["do"])
        try:
            await play(step)
        except AsterError as error:
            say(error_line(error, step.get("show", [])))

    async def create_agent(self, step: Step) -> None:
        config = AgentConfig(
            template_id="chat",
            model_config=agent_pb2.ModelConfig(provider="scripted", model=step["model"]),
            tools=step.get("tools", []),
            tool_permissions=dict.fromkeys(step.get("ask", []), PermissionPolicy.ASK),
        )
        agent = await self.client.create_agent(agent_id=step["agent"], config=config)
        say(f"agent {agent.id}")

    async def chat(self, step: Step) -> None:
        result = await self.client.agent(step["agent"]).chat(step["text"])
        say(f"chat {result.stop_reason} {result.text}")

    async def stream(self, step: Step) -> None:
        agent = self.client.agent(step["agent"])
        chunks: dict[int, str] = {}
        whole = True
        async with agent.stream(step["text"], channels=EVENTS_SHOWN) as events:
            async for event in events:
                say_event(event)
                chunks[event.step] = chunks.get(event.step, "") + event.text_delta
                match event.payload:
                    case event_pb2.TextDone() as done:
                        whole &= done.text == chunks[event.step]
                    case event_pb2.ToolApprovalRequest():
                        await self._decide(step, event.id)
                    case event_pb2.UserInputRequest():
                        await agent.respond_to_input_request(event.id, step["answer"])
        say("text whole" if whole else "text broken")

    async def _decide(self, step: Step, pending_id: str) -> None:
        async with self.connect() as second:
            async for pending in second.pending_approvals(agent_id=step["agent"]):
                if pending.id == pending_id:
                    await second.approve(pending, step["decide"] == "allow")

    async def send(self, step: Step) -> None:
        sent = await self.client.agent(step["agent"]).send(step["text"])
        self.cursors[step["save"]] = sent.cursor
        say("sent")

    async def subscribe(self, step: Step) -> None:
        start: dict[str, Any] = {"start": step["from"]} if "from" in step else {"cursor": self.cursors[step["cursor"]]}
        agent = self.client.agent(step["agent"])
        types = step.get("event_types", [])
        async with agent.subscribe(step.get("channels", []), event_types=types, **start) as events:
            for _ in range(step["count"]):
                say_event(await anext(events))
            self.cursors[step.get("save", "")] = events.cursor

    async def resume(self, step: Step) -> None:
        cursor = self.cursors[step["cursor"]] if "cursor" in step else ""
        start: dict[str, Any] = {"cursor": cursor} if cursor else {"start": "earliest"}
        dense, count, last = True, 0, 0
        async with self.client.agent(step["agent"]).subscribe(**start) as events:
            async for event in events:
                dense &= last in (0, event.sequence - 1)
                last = event.sequence
                count += 1
                if count == step["after"]:
                    await wish(step["wish"])
                if event.type == "progress.complete":
                    break
            say("dense" if dense else "gap")
            say("reconnected" if events.statistics().reconnects else "connected")
            say(event_line(event))

    async def batches(self, step: Step) -> None:
        last, dense, largest, done = 0, True, 0, False
        async with self.client.agent(step["agent"]).subscribe(start="earliest") as events:
            async for frames in events.batches():
                largest = max(largest, len(frames))
                for frame in frames:
                    dense &= frame.event.sequence == last + 1
                    last = frame.event.sequence
                    done |= frame.event.event_type == "progress.complete"
                if done:
                    break
        say("dense" if dense else "gap")
        say("batched" if largest > 1 else "single")

    async def deadline(self, step: Step) -> None:
        agent = self.client.agent(step["agent"])
        async with agent.subscribe(event_types=["progress.complete"]) as events:
            try:
                await agent.chat(step["text"], timeout=step["seconds"])
            except errors.DeadlineExceeded as error:
                say(error_line(error, []))
            say_event(await anext(events))

    async def cancel(self, step: Step) -> None:
        agent = self.client.agent(step["agent"])
        async with agent.subscribe(["progress"]) as events:
            chat = asyncio.create_task(agent.chat(step["text"]))
            async for event in events:
                if event.kind == "text_chunk":
                    break
            chat.cancel()
            await asyncio.wait((chat,))
            if chat.cancelled():
                say("cancelled")
            async for event in events:
                if event.kind == "complete":
                    say_event(event)
                    return

    async def status(self, step: Step) -> None:
        client = self.connect("") if step.get("client") == "anonymous" else self.client
        status = await client.agent(step["agent"]).status()
        say(f"status {status.state} {status.activity}")

    async def star(self, step: Step) -> None:
        transport = self.client._transport  # the stubs that the client has no words for go over its channel
        stars: Any = stars_service_pb2_grpc.StarsServiceStub(transport.channel)
        members = [
            stars_service_pb2.StarMember(agent_id=step["leader"], role="leader"),
            stars_service_pb2.StarMember(agent_id=step["member"], role="worker"),
        ]
        create = stars_service_pb2.CreateStarRequest(star_id=step["star"], members=members)
        await stars.CreateStar(create, metadata=transport.metadata)
        run = stars_service_pb2.RunStarRequest(star_id=step["star"], message=step["text"])
        say(f"star {(await stars.RunStar(run, metadata=transport.metadata)).text}")

    async def close(self, step: Step) -> None:
        await self.client.agent(step["agent"]).close()
        say("closed")


async def main(steps: list[Step]) -> None:
    """Plays the whole story."""
    without = os.environ.get("ASTER_WITHOUT", "").split(",")
    runner = Runner()
    async with runner.client:
        for step in steps:
            if step.get("needs") not in without:
                await runner.play(step)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["steps"]))
