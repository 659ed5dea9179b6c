"""Stars of a folder: created when the file and its members are there."""

import asyncio
from pathlib import Path

import pytest
from services.helpers import LIMIT, Server, refused, serving

from aster.v1 import stars_service_pb2 as pb
from asteros import clock
from asteros.runtime import yaml_folder
from asteros.stars import folder as star_files
from asteros.stars.folder import StarFiles

pytestmark = pytest.mark.anyio
TEAM = "displayName: The team\nstrategy: round_robin\nmembers:\n- agentId: ann\n- {agentId: bob, name: B}\n"


@pytest.fixture
def files(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StarFiles:
    monkeypatch.setattr(yaml_folder, "LOOK", 0.0)
    (tmp_path / "stars").mkdir()
    return StarFiles(tmp_path / "stars", server.house._stars)


async def get(server: Server, star_id: str) -> pb.Star:
    return (await server.stars.GetStar(pb.GetStarRequest(star_id=star_id))).star


async def test_it_waits_for_its_members(server: Server, files: StarFiles, tmp_path: Path) -> None:
    (tmp_path / "stars" / "team.yaml").write_text(TEAM)
    await server.agent(agent_id="ann")
    await files.look()
    await refused(
        server.stars.GetStar(pb.GetStarRequest(star_id="team")), "NOT_FOUND", "STAR_NOT_FOUND", "ResourceInfo"
    )
    await server.agent(agent_id="bob")
    await files.look()
    star = await get(server, "team")
    assert (star.display_name, star.strategy, [m.name for m in star.members]) == (
        "The team", "round_robin", ["ann", "B"]
    )  # fmt: skip
    await server.stars.LeaveStar(pb.LeaveStarRequest(star_id="team", name="B"))
    (tmp_path / "stars" / "team.yaml").write_text(TEAM + "# changed\n")
    await files.look()
    assert len((await get(server, "team")).members) == 1, "what is stored is left as it is"


@pytest.mark.parametrize("text", ["[1]", "members: 3", "colour: red", "strategy: guess", "x: [", "starId: a/b"])
async def test_a_broken_file_is_told_once(
    server: Server, files: StarFiles, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stars" / "bad.yaml").write_text(text)
    (tmp_path / "stars" / "good.yaml").write_text("starId: fine\n")
    for _ in range(2):
        await files.look()
    assert len([line for line in caplog.messages if "bad.yaml is broken" in line]) == 1
    assert (await get(server, "fine")).id == "fine"


@pytest.mark.parametrize("discover", [True, False])
async def test_a_server_looks_by_itself(tmp_path: Path, discover: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(star_files, "LOOK", 0.01)
    monkeypatch.setattr(yaml_folder, "LOOK", 0.0)
    folder = tmp_path / "stars"
    folder.mkdir()
    (folder / "team.yaml").write_text("{}")
    async with serving(tmp_path, stars_dir=folder, auto_discover=discover) as server:
        async with asyncio.timeout(LIMIT):
            began = clock.monotonic()
            while not (found := list((await server.stars.ListStars(pb.ListStarsRequest())).stars)):
                if not discover and clock.monotonic() - began > 0.2:
                    break
        assert [star.id for star in found] == (["team"] if discover else [])
