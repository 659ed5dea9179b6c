"""google-adk's agent with a scripted model; `adk api_server` serves it with its default SQLite session store."""

import os

from google.adk.agents import Agent
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.genai import types

CHUNKS = int(os.getenv("CHUNKS", "50"))


def reply(text: str, **fields) -> LlmResponse:
    return LlmResponse(content=types.Content(role="model", parts=[types.Part(text=text)]), **fields)


class Scripted(BaseLlm):
    model: str = "scripted"

    async def generate_content_async(self, llm_request, stream=False):
        for _ in range(CHUNKS if stream else 0):
            yield reply("tok ", partial=True)
        yield reply("tok " * CHUNKS, partial=False, turn_complete=True)


root_agent = Agent(name="echo", model=Scripted(), instruction="x")
