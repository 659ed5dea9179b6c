"""agno's AgentOS with a scripted model and its SQLite store. usage: agno_app.py PORT DB_FILE"""

import os
import sys

import uvicorn
from agno.agent import Agent
from agno.db.sqlite import SqliteDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.os import AgentOS

CHUNKS = int(os.getenv("CHUNKS", "50"))


class Scripted(Model):
    def __init__(self):
        super().__init__(id="scripted", name="scripted", provider="scripted")

    def invoke(self, *args, **kwargs):
        return ModelResponse(role="assistant", content="tok " * CHUNKS)

    async def ainvoke(self, *args, **kwargs):
        return self.invoke()

    def invoke_stream(self, *args, **kwargs):
        for index in range(CHUNKS):
            yield ModelResponse(role=None if index else "assistant", content="tok ")

    async def ainvoke_stream(self, *args, **kwargs):
        for chunk in self.invoke_stream():
            yield chunk

    def _parse_provider_response(self, response, **kwargs):
        return response

    def _parse_provider_response_delta(self, response):
        return response


if __name__ == "__main__":
    agent = Agent(id="echo", name="echo", model=Scripted(), db=SqliteDb(db_file=sys.argv[2]), telemetry=False)
    app = AgentOS(id="bench", agents=[agent], telemetry=False).get_app()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
