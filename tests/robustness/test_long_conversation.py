"""A conversation of 10,000 messages stays inside the window, survives a restart and replays."""

from pathlib import Path

import pytest
from middleware.conversations import called_tokens, check_requests, long_talk
from middleware.helpers import Probe
from runtime.helpers import of

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]

MESSAGES = 10_000
WINDOW = 2000


async def test_10000_messages_stay_inside_the_window_and_replay(tmp_path: Path) -> None:
    events, stored = await long_talk(tmp_path, MESSAGES // 2, {"window": WINDOW})
    assert len(stored) == MESSAGES
    check_requests(Probe.seen, WINDOW)
    assert max(called_tokens(events)) <= WINDOW
    assert len(of(events, "complete")) == MESSAGES // 2
    assert len(of(events, "session_summarized")) > 100
