"""Every recorded answer, in its own packets and in others: the same chunks or the same error."""

from collections.abc import AsyncIterator

import pytest
from providers.kinds import KEY, Heard, hear, request
from providers.recorded import DIALECTS, FOLDER, Readers, Recording, load
from wire import End, WireServer

from asteros import errors
from asteros.providers.base import Finish

pytestmark = pytest.mark.anyio

ALL = load()
IDS = [f"{each.dialect}-{each.name}" for each in ALL]
# What a peer that resets has sent may be lost with the connection, in whatever packets.
STABLE = [each for each in ALL if each.end is not End.RESET]


@pytest.fixture(scope="module")
async def readers() -> AsyncIterator[Readers]:
    """A provider for each dialect; a client takes longer to make than an answer to read."""
    async with WireServer() as wire:
        made = Readers(wire)
        yield made
        await made.aclose()


@pytest.mark.parametrize("recording", ALL, ids=IDS)
async def test_in_its_own_packets(readers: Readers, recording: Recording) -> None:
    await _check(readers, recording)


@pytest.mark.parametrize("recording", STABLE, ids=lambda each: f"{each.dialect}-{each.name}")
async def test_packets_do_not_matter(readers: Readers, recording: Recording) -> None:
    await _check(readers, recording, 3, 1, 211)


async def _check(readers: Readers, recording: Recording, *sizes: int) -> None:
    provider, heard = readers.of(recording), Heard()
    readers.wire.reply(recording.reply(*sizes))
    asked = request("some-model", idle_timeout=0.1 if recording.end is End.SILENT else 5.0)
    if "error" not in recording.expect:
        recording.check_answer(await hear(provider, asked, heard))
        return
    with pytest.raises(errors.AsterError) as caught:
        await hear(provider, asked, heard)
    _check_failure(recording, caught.value, heard)


def _check_failure(recording: Recording, error: errors.AsterError, heard: Heard) -> None:
    expected = recording.expect
    assert error.reason == expected["error"]
    assert not [chunk for chunk in heard.chunks if isinstance(chunk, Finish)], "a cut answer is never a finished one"
    if recording.end is not End.RESET:
        assert (heard.text, heard.thinking) == (expected.get("text", ""), expected.get("thinking", ""))
    assert error.retry_after == pytest.approx(expected["retry_after"]) if "retry_after" in expected else True
    told = f"{error.text} {error.status()}"
    assert expected.get("says", "") in told
    assert KEY not in told
    assert "10.0.0.7" not in told
    assert "<html>" not in told


@pytest.mark.parametrize("dialect", DIALECTS)
def test_there_are_thirty_of_each(dialect: str) -> None:
    bodies = sorted(file.stem for file in (FOLDER / dialect).glob("*.sse"))
    assert len(bodies) >= 30
    assert bodies == sorted(file.stem for file in (FOLDER / dialect).glob("*.yaml"))
