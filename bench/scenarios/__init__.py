"""One scenario a file: set up, load, figures, goal. The order here is the order of the table."""

from bench.harness import Scenario
from bench.scenarios import append, chat_pace, fanout, idle, registered, slow_reader, startup, ttfe, unary

SCENARIOS: dict[str, Scenario] = {
    module.__name__.rpartition(".")[2]: module.run
    for module in (fanout, append, ttfe, chat_pace, idle, slow_reader, registered, startup, unary)
}


def about(name: str) -> str:
    """The first line of what a scenario says of itself."""
    return (__import__(f"bench.scenarios.{name}", fromlist=["x"]).__doc__ or "").partition("\n")[0]
