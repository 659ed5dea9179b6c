import json
from typing import Any

import pytest

from asteros.errors import ConfigError
from asteros.tools.mcp_config import McpServer, parse


def test_reads_the_usual_form() -> None:
    text = json.dumps(
        {
            "mcpServers": {
                "files": {
                    "command": "mcp-files",
                    "args": ["${HOME}/x"],
                    "env": {"T": "a${TOKEN}"},
                    "read_only": ["stat"],
                },
                "web": {
                    "type": "http",
                    "url": "https://m.example/mcp",
                    "headers": {"A": "Bearer ${TOKEN}"},
                    "timeout": 5,
                },
                "off": {"command": "x", "disabled": True},
            },
            "other": 1,
        }
    )
    files, web = parse(text, {"HOME": "/h", "TOKEN": "t"})
    assert files == McpServer(
        "files", command="mcp-files", args=("/h/x",), env={"T": "at"}, headers={}, read_only=frozenset({"stat"})
    )
    assert web == McpServer("web", url="https://m.example/mcp", headers={"A": "Bearer t"}, env={}, timeout=5.0)
    assert (files.reads("stat"), files.reads("rm")) == (True, False)
    assert McpServer("all", read_only=frozenset({"*"})).reads("anything")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ([], "is not an object"),
        ({}, "needs either command (stdio) or url (streamable HTTP)"),
        ({"command": "a", "url": "b"}, "needs either command (stdio) or url (streamable HTTP)"),
        ({"type": "sse", "url": "b"}, "needs either command (stdio) or url (streamable HTTP)"),
        ({"type": "pipe", "url": "b"}, "type is not stdio or http"),
        ({"command": 1}, "command is not a text"),
        ({"command": "a", "args": "b"}, "args is not a list"),
        ({"command": "a", "env": {"X": 1}}, "env.X is not a text"),
        ({"command": "a", "env": []}, "env is not an object of texts"),
        ({"command": "${NONE}"}, "command: the variable NONE is not set"),
        ({"command": "a", "timeout": 601}, "timeout is not a number of seconds up to 600"),
        ({"command": "a", "timeout": True}, "timeout is not a number of seconds up to 600"),
        ({"command": "a", "autoApprove": []}, "'autoApprove' is not known"),
    ],
)
def test_says_what_is_wrong_and_where(entry: Any, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"mcpServers": {"s": entry}}), {})
    assert str(caught.value).startswith("--mcp-config: 's'")
    assert error in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mcpServers": []}', "[" * 100_000])
def test_a_file_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--mcp-config"):
        parse(text, {})


@pytest.mark.parametrize("name", ["", "a b", "a__b", "x" * 33, "é"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError, match="a name has 1 to 32"):
        parse(json.dumps({"mcpServers": {name: {"command": "x"}}}), {})


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"mcpServers": {"s": {"command": "a", "env": {"KEY": ["hunter2"]}}}}), {})
    assert "hunter2" not in str(caught.value)
