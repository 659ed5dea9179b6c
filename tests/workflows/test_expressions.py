"""Expressions have a value or a reason, and take neither time nor memory from the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asteros.workflows import expressions as module
from asteros.workflows.expressions import NAMES, BadExpression, Expressions, Part, filled, parts_of, text_of

pytestmark = pytest.mark.anyio
VALUES: dict[str, Any] = {
    "input": "hi",
    "inputs": {"n": [1, 2.5, None, True], "big": 2**70},
    "previous": "",
    "steps": {},
}


@pytest.fixture(scope="module")
async def expressions(anyio_backend: str) -> AsyncIterator[Expressions]:
    made = Expressions()
    yield made
    await made.aclose()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input + '!'", "hi!"),
        ("inputs.n", [1, 2.5, None, True]),
        ("size(inputs.n) > 3", True),
        ("has(inputs.x)", False),
        ("inputs.big", float(2**70)),
        ("parse_json('{\"a\": [1]}').a[0]", 1),
        ("inputs.n.filter(x, x == 1)", [1]),
        ("{1: 'a', 2: {true: 'b'}}", {"1": "a", "2": {"true": "b"}}),
        ("timestamp('2026-01-01T00:00:00Z')", "2026-01-01T00:00:00Z"),
        ("duration('90s')", "90s"),
        ("input.matches('^h.$')", True),
    ],
)
async def test_values(expressions: Expressions, text: str, expected: Any) -> None:
    assert await expressions.value(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inputs.x", "Key not found"),
        ("1 / 0", "divide by zero"),
        ("parse_json('{')", "property name"),
        ("b'abc'", "none of JSON"),
        ("double('nan')", "no number of JSON"),
        ("nobody", "undeclared reference to 'nobody'"),
        ("[input]" + ".map(x, x + x)" * 26, "too much"),
        (
            "[0,1,2,3,4,5,6,7,8,9].map(a, " * 5 + "1" + ")" * 5,
            "undeclared|budget exceeded|too much|recursion|Iteration",
        ),
        ("'(a+)+b'.matches('x') && " + "(" * 40 + "true" + ")" * 40, "recursion"),
    ],
)
async def test_reasons(expressions: Expressions, text: str, reason: str) -> None:
    values = VALUES | {"input": "x" * 100_000}
    with pytest.raises(BadExpression, match=reason):
        await expressions.value(text, values)
    assert await expressions.value("1 + 1", VALUES) == 2


async def test_many_rounds_are_too_many(expressions: Expressions) -> None:
    inner = "[0,1,2,3,4,5,6,7,8,9]"
    text = "".join(f"{inner}.map({name}, " for name in "abcde") + "1" + ")" * 5
    with pytest.raises(BadExpression, match=r"[Ii]teration"):
        await expressions.value(text, VALUES)


async def test_an_expression_that_takes_too_long_is_ended(expressions: Expressions, monkeypatch: Any) -> None:
    assert await expressions.value("1", VALUES) == 1  # the process is there
    monkeypatch.setattr(module, "TIME_LIMIT", 0.0)
    with pytest.raises(BadExpression, match="too much time"):
        await expressions.value("2", VALUES)
    monkeypatch.undo()
    assert await expressions.value("3", VALUES) == 3


async def test_a_cancelled_caller_leaves_no_answer_behind(expressions: Expressions) -> None:
    asking = asyncio.create_task(expressions.value("size(input)", VALUES | {"input": "x" * 1_000_000}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await expressions.value("'mine'", VALUES) == "mine"


async def test_types(expressions: Expressions) -> None:
    found = [await expressions.type_of(text, NAMES) for text in ("true", "input", "inputs.x", "[1]", "steps")]
    assert found == ["BOOL", "STRING", "DYN", "LIST<INT>", "MAP<STRING, STRING>"]


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("", []),
        ("plain", [Part("plain", False)]),
        ("${a}", [Part("a", True)]),
        ("x${a}y${b}", [Part("x", False), Part("a", True), Part("y", False), Part("b", True)]),
        ("$${a}", [Part("${a}", False)]),
        ("$$${a}", [Part("$", False), Part("${a}", False)]),
        ("${ '}' }", [Part(" '}' ", True)]),
        ('${ """ "} """ }', [Part(' """ "} """ ', True)]),
        (r"${ '\'}' }", [Part(r" '\'}' ", True)]),
        ("${ {'a': {'b': 1}} }", [Part(" {'a': {'b': 1}} ", True)]),
    ],
)
def test_parts_of_a_template(template: str, parts: list[Part]) -> None:
    joined = "".join(part.text for part in parts if not part.is_expression)
    found = parts_of(template)
    assert [part for part in found if part.is_expression] == [part for part in parts if part.is_expression]
    assert "".join(part.text for part in found if not part.is_expression) == joined


def test_an_expression_must_end() -> None:
    with pytest.raises(BadExpression, match="has no }"):
        parts_of("${ '}' ")


async def test_a_filled_template(expressions: Expressions) -> None:
    assert await filled(expressions, "${input}: ${inputs.n} $${x}", VALUES) == "hi: [1, 2.5, null, true] ${x}"
    assert [text_of(value) for value in (None, "a", {"b": 1}, True)] == ["", "a", '{"b": 1}', "true"]
