"""Personal data and keys: what is found, that it stays found in pieces, and that no text is slow."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from middleware.helpers import reply, sent_results, sent_texts
from middleware.helpers import settings as middlewares
from runtime.helpers import World, call, of

from asteros.middleware.base import ModelStream
from asteros.middleware.pii import PiiRedaction
from asteros.providers.base import Finish, TextDelta

pytestmark = pytest.mark.anyio
RING = PiiRedaction({"kinds": ["email", "phone", "card", "key"], "answers": True})
KEY = "sk-ant-" + "a1B2" * 8


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("write to ann.lee+x@mail.example.com now", "write to [email] now"),
        ("(bob@example.org)", "([email])"),
        ("call +41 31 123 45 67 today", "call [phone] today"),
        ("(555) 123-4567", "[phone]"),
        ("555-123-4567.", "[phone]."),
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("card 4111-1111-1111-1111", "card [card]"),
        ("5500000000000004", "[card]"),
        (f"key {KEY}", "key [key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ghp_" + "x" * 36, "[key]"),
        # What is none of these.
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("2026-11-21", "2026-11-21"),
        ("version 1.2.3, 10.0.0.1", "version 1.2.3, 10.0.0.1"),
        ("ann@localhost", "ann@localhost"),
        ("sk-short", "sk-short"),
        ("price 1200 for 35 of 400", "price 1200 for 35 of 400"),
        ("", ""),
    ],
)
def test_what_is_found(text: str, redacted: str) -> None:
    assert RING.redact(text) == redacted


def test_only_the_kinds_that_were_chosen() -> None:
    ring = PiiRedaction({"kinds": ["email"], "answers": True})
    assert ring.redact(f"a@b.org {KEY}") == f"[email] {KEY}"


SECRETS = ["ann.lee@example.com", "+41 31 123 45 67", "4111 1111 1111 1111", KEY]
WORDS = st.lists(
    st.one_of(st.sampled_from(SECRETS), st.sampled_from(["hello", "12", "a.b", "(x)", "\n", "é"])), max_size=8
)


@given(WORDS, st.lists(st.integers(1, 9), min_size=1, max_size=20), st.sampled_from([" ", ", ", ":", " - "]))
@settings(max_examples=200, deadline=None)
def test_an_answer_in_pieces_is_the_answer_in_one(words: list[str], sizes: list[int], joint: str) -> None:
    text = joint.join(words)

    async def told() -> str:
        async def stream() -> ModelStream:
            at = turn = 0
            while at < len(text):
                size = sizes[turn % len(sizes)]
                yield TextDelta(text[at : at + size])
                at, turn = at + size, turn + 1
            yield Finish(1)  # type: ignore[arg-type]

        pieces = [chunk async for chunk in RING._answer(stream())]
        assert isinstance(pieces[-1], Finish)
        return "".join(chunk.text for chunk in pieces[:-1] if isinstance(chunk, TextDelta))

    coroutine = told()
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == RING.redact(text)


@pytest.mark.parametrize(
    "hostile",
    [
        "a@" * 500_000,
        "1 " * 500_000,
        "a.b-" * 250_000,
        "eyJ" * 300_000,
        "sk-" * 300_000,
        "+1 (2) " * 150_000,
        "1" * 10**6,
    ],
    ids=lambda text: text[:4],
)
def test_a_megabyte_of_nearly_is_read_in_linear_time(hostile: str) -> None:
    began = time.monotonic()
    RING.redact(hostile)
    assert time.monotonic() - began < 10


async def test_the_model_never_sees_it_and_the_store_keeps_it(world: World) -> None:
    steps = ([call("plain", "c1", text="bob@example.org")], ["ok, ann@example.com"])
    agent = await world.agent(*steps, system_prompt=f"key {KEY}", **middlewares(pii_redaction=None))
    turn = await world.turn(agent, "I am ann@example.com")
    assert sent_texts()[0] == "I am [email]"
    assert sent_results()["c1"]["result"] == "did [email]"
    assert reply(turn) == "ok, [email]"
    assert "ann@" not in "".join(each.delta for each in of(await world.events(agent), "text_chunk"))
    assert (await world.messages(agent))[0].content[0].text == "I am ann@example.com"
    assert world.box.did == ["plain bob@example.org"], "inputs of tools are left alone"


async def test_answers_can_be_left_alone(world: World) -> None:
    agent = await world.agent(["ann@example.com"], **middlewares(pii_redaction={"answers": False}))
    assert reply(await world.turn(agent)) == "ann@example.com"
