"""Fixtures of the whole suite."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    # One loop for the session: grpc.aio reports into the loop that made a call, also after its test.
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which clients were left out, and how to get what they need."""
    reasons = {
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
        if isinstance(report, pytest.TestReport)
        and report.nodeid.startswith("tests/clients/conformance/")
        and isinstance(report.longrepr, tuple)
    }
    if reasons:
        terminalreporter.section("clients left out, for want of a toolchain")
        for reason in sorted(reasons):
            terminalreporter.write_line(reason)
