"""pydantic-ai behind its AG-UI adapter, with a scripted model; it stores nothing. usage: pydantic_ai_app.py PORT"""

import os
import sys

import uvicorn
from pydantic_ai import Agent
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

CHUNKS = int(os.getenv("CHUNKS", "50"))


async def tokens(messages, info: AgentInfo):
    for _ in range(CHUNKS):
        yield "tok "


agent = Agent(FunctionModel(stream_function=tokens))


async def run(request):
    return await AGUIAdapter.dispatch_request(request, agent=agent)


async def health(request):
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/", run, methods=["POST"]), Route("/health", health)])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
