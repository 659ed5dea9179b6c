"""Promises of a store about Stars; part of ``conformance``."""

import dataclasses

import pytest
from google.rpc import status_pb2
from stores.helpers import Reopen, create

from aster.v1 import common_pb2
from aster.v1 import stars_service_pb2 as pb
from asteros import errors
from asteros.stores.base import AddRequest, RequestIdKnown, Store
from asteros.stores.resources import KINDS
from asteros.stores.stars import RunRow, RunTurn


class StarPromises:
    """Members in order, messages once, runs with their turns."""

    async def test_a_star_and_its_members(self, store: Store, reopen: Reopen) -> None:
        stars = store.stars()
        await stars.create("default", _star("s1", "b", "a"), None)
        await stars.join("default", "s1", _member("c"), 3)
        with pytest.raises(errors.FieldViolation):
            await stars.join("default", "s1", _member("d"), 3)
        for taken in (pb.StarMember(name="b", agent_id="x"), pb.StarMember(name="x", agent_id="of-b")):
            with pytest.raises(errors.StarMemberAlreadyExists):
                await stars.join("default", "s1", taken, 9)
        with pytest.raises(errors.StarNotFound):
            await stars.join("other", "s1", _member("c"), 9)
        stars = (await reopen()).stars()
        assert await _names(await stars.get("default", "s1")) == ["b", "a", "c"]
        assert await stars.leave("default", "s1", "b", "")
        assert await stars.leave("default", "s1", "", "of-c")
        assert not await stars.leave("default", "s1", "b", "")
        assert await _names(await stars.get("default", "s1")) == ["a"]
        assert await stars.get("other", "s1") is None

    async def test_a_refused_star_is_not_there(self, store: Store) -> None:
        stars = store.stars()
        with pytest.raises(errors.StarMemberAlreadyExists):
            await stars.create("default", _star("s1", "a", "a"), AddRequest("r1", b"d", "s1"))
        assert await stars.get("default", "s1") is None
        assert (await store.resources().snapshot("default", KINDS))[0] == []
        await stars.create("default", _star("s1"), AddRequest("r1", b"d", "s1"))
        with pytest.raises(RequestIdKnown):
            await stars.create("default", _star("s2"), AddRequest("r1", b"e", "s2"))
        with pytest.raises(errors.StarAlreadyExists):
            await stars.create("default", _star("s1"), None)
        await stars.create("other", _star("s1"), None)
        assert [star.id for star in await stars.page("default", "", 9)] == ["s1"]

    async def test_stars_in_pages(self, store: Store) -> None:
        for name in ("b", "a", "c"):
            await store.stars().create("default", _star(name, "m"), None)
        assert [star.id for star in await store.stars().page("default", "a", 1)] == ["b"]

    async def test_a_deleted_agent_is_in_no_star(self, store: Store) -> None:
        row = await create(store, "of-a")
        await create(store, "of-a", "other")
        for tenant in ("default", "other"):
            await store.stars().create(tenant, _star("s1", "a", "b"), None)
        await store.delete_agent(row.key)
        assert await _names(await store.stars().get("default", "s1")) == ["b"]
        assert await _names(await store.stars().get("other", "s1")) == ["a", "b"]

    async def test_messages_are_stored_once(self, store: Store) -> None:
        stars = store.stars()
        await stars.create("default", _star("s1"), None)
        await stars.say("default", "s1", [_said("m1"), _said("m2")], AddRequest("r1", b"d", "m1"))
        await stars.say("default", "s1", [_said("m2", "changed"), _said("m3")])
        with pytest.raises(RequestIdKnown):
            await stars.say("default", "s1", [_said("m4")], AddRequest("r1", b"d", "m4"))
        await stars.say("default", "gone", [_said("m5")])
        assert [(place, said.id) for place, said in await stars.messages("default", "s1", 1, 9)] == [
            (2, "m2"),
            (3, "m3"),
        ]
        found = await stars.message("default", "m2")
        assert found is not None
        assert found.text == ""
        assert await stars.message("default", "m5") is None

    async def test_runs(self, store: Store, reopen: Reopen) -> None:
        stars = store.stars()
        await stars.create("default", _star("s1", "a"), None)
        row = _run("trn_1")
        await stars.begin(row, AddRequest("r1", b"d", row.id))
        await stars.begin(row, None)  # the same again is nothing
        with pytest.raises(RequestIdKnown):
            await stars.begin(_run("trn_2"), AddRequest("r1", b"d", "trn_2"))
        turns = [RunTurn("a/1", "trn_1", 7, "a", 0, 0), RunTurn("trn_1/c", "trn_3", 8, "b", 1, 2)]
        for turn in turns:
            await stars.add_turn(row, turn, [_said(turn.turn_id)])
        stars = (await reopen()).stars()
        assert await stars.run("default", "trn_1") == row
        assert await stars.run("other", "trn_1") is None
        assert await stars.open_runs() == [row]
        assert await stars.turns("default", "trn_1") == turns
        assert [await stars.run_of_turn("default", turn) for turn in ("trn_3", "trn_9")] == ["trn_1", ""]
        assert len(await stars.messages("default", "s1", 0, 9)) == 2
        ended = dataclasses.replace(row, open=False, answer="trn_3", error=status_pb2.Status(code=5))
        await stars.end(ended)
        await stars.end(dataclasses.replace(ended, answer="other"))  # the first counts
        assert await stars.run("default", "trn_1") == ended
        assert await stars.open_runs() == []

    async def test_deleting_takes_everything(self, store: Store) -> None:
        stars = store.stars()
        await stars.create("default", _star("s1", "a"), None)
        await stars.begin(_run("trn_1"), None)
        await stars.add_turn(_run("trn_1"), RunTurn("a/1", "trn_1", 7, "a", 0, 0), [_said("m1")])
        assert await stars.delete("default", "s1")
        assert not await stars.delete("default", "s1")
        assert await stars.run("default", "trn_1") is None
        assert await stars.turns("default", "trn_1") == []
        await stars.create("default", _star("s1"), None)
        assert await stars.messages("default", "s1", 0, 9) == []


def _member(name: str) -> pb.StarMember:
    return pb.StarMember(name=name, agent_id=f"of-{name}")


def _star(star_id: str, *names: str) -> pb.Star:
    return pb.Star(id=star_id, members=map(_member, names))


def _said(message_id: str, text: str = "") -> pb.StarMessage:
    return pb.StarMessage(id=message_id, text=text)


def _run(run_id: str) -> RunRow:
    return RunRow(
        "default", run_id, _star("s1", "a"), "task", common_pb2.Budget(max_steps=3), "ann", "t", 5, 9, "wfr_1"
    )


async def _names(star: pb.Star | None) -> list[str]:
    assert star is not None
    return [member.name for member in star.members]
