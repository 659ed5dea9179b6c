"""The figures of all runs of a session, printed at its end."""

import pytest
from robustness.scenario import Figures

ALL = pytest.StashKey[list[Figures]]()


@pytest.fixture
def total(request: pytest.FixtureRequest) -> list[Figures]:
    """Where a run leaves its figures."""
    return request.config.stash.setdefault(ALL, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(ALL, []):
        terminalreporter.write_line(f"kill -9: {sum(figures, Figures())}")
