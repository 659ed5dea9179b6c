"""One scenario a file: set up, load, figures, goal. The order here is the order of the table."""

from bench.harness import Scenario
from bench.scenarios import (
    append,
    bridge,
    chat_pace,
    fanout,
    idle,
    insight,
    registered,
    resume,
    runs,
    slow_reader,
    startup,
    studio,
    ttfe,
    unary,
)

_ORDER = (
    fanout, append, ttfe, chat_pace, idle, slow_reader, resume, registered, startup, unary, bridge, runs, insight,
    studio,
)  # fmt: skip
SCENARIOS: dict[str, Scenario] = {module.__name__.rpartition(".")[2]: module.run for module in _ORDER}


def about(name: str) -> str:
    """The first line of what a scenario says of itself."""
    return (__import__(f"bench.scenarios.{name}", fromlist=["x"]).__doc__ or "").partition("\n")[0]
