"""The usual home-made API: FastAPI, pydantic models, a queue per subscriber. usage: fastapi_app.py PORT SAMPLE

SAMPLE is a JSON file with {"agent": what GET of an agent gives, "frame": what one event of a stream is}, both
as our server answers them: models of the same shape are made of it, so that both sides carry the same bytes."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, create_model

CHUNKS = int(os.getenv("CHUNKS", "50"))
SAMPLE = json.loads(Path(sys.argv[2]).read_text())


def model(name: str, sample: dict[str, Any]) -> type[BaseModel]:
    """A model with a typed field for each member."""
    fields: dict[str, Any] = {}
    for key, value in sample.items():
        kind = model(f"{name}_{key}", value) if isinstance(value, dict) and value else type(value)
        fields[key] = (kind, ...)
    return create_model(name, **fields)


Agent = model("Agent", SAMPLE["agent"])
Frame = model("Frame", SAMPLE["frame"])
Event = Frame.model_fields["event"].annotation
Progress = Event.model_fields["progress"].annotation
Chunk = Progress.model_fields["textChunk"].annotation
QUEUES: set["asyncio.Queue[BaseModel]"] = set()
app = FastAPI()


class RunRequest(BaseModel):
    message: str


def frame(index: int) -> BaseModel:
    """One event, built of typed parts as an application does."""
    sample = SAMPLE["frame"]["event"] | {
        "sequence": str(index),
        "progress": Progress(textChunk=Chunk(delta=f"tok{index} ")),
    }
    return Frame(cursor=SAMPLE["frame"]["cursor"], event=Event(**sample))


def record(item: Any) -> str:
    return f"id: {item.cursor}\nevent: {item.event.eventType}\ndata: {item.model_dump_json()}\n\n"


def stream(queue: "asyncio.Queue[BaseModel]", count: int) -> StreamingResponse:
    async def records():
        try:
            for _ in range(count):
                yield record(await queue.get())
        finally:
            QUEUES.discard(queue)

    return StreamingResponse(records(), media_type="text/event-stream")


@app.get("/api/agents/{agent_id}")
async def agent(agent_id: str) -> Agent:
    return Agent.model_validate(SAMPLE["agent"] | {"id": agent_id})


@app.post("/run")
async def run(request: RunRequest):
    queue: asyncio.Queue[BaseModel] = asyncio.Queue()

    async def produce():
        for index in range(CHUNKS):
            queue.put_nowait(frame(index))
            await asyncio.sleep(0)

    response = stream(queue, CHUNKS)
    response.producer = asyncio.create_task(produce())  # lives as long as the response
    return response


@app.get("/follow")
async def follow(count: int):
    queue: asyncio.Queue[BaseModel] = asyncio.Queue()
    QUEUES.add(queue)
    return stream(queue, count)


@app.websocket("/follow")
async def follow_socket(socket: WebSocket, count: int):
    queue: asyncio.Queue[BaseModel] = asyncio.Queue()
    await socket.accept()
    QUEUES.add(queue)
    try:
        for _ in range(count):
            await socket.send_text((await queue.get()).model_dump_json())
    finally:
        QUEUES.discard(queue)


@app.post("/publish")
async def publish(count: int, burst: int, readers: int):
    """Feeds ``count`` events to everybody, ``burst`` at a time, when ``readers`` are there."""
    while len(QUEUES) < readers:
        await asyncio.sleep(0.01)
    for first in range(0, count, burst):
        for index in range(first, min(first + burst, count)):
            event = frame(index)
            for queue in QUEUES:
                queue.put_nowait(event)
        await asyncio.sleep(0)


@app.get("/health")
async def health():
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, backlog=4096)
