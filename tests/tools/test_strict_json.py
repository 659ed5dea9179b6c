import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asteros.tools import strict_json
from asteros.tools.strict_json import StrictJsonError, canonical, parse


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON: Expecting value at character 0"),
        ('{"a": 1', "not valid JSON"),
        ('{"a": 1} x', "not valid JSON"),
        ("{'a': 1}", "not valid JSON"),
        ('"a\nb"', "not valid JSON"),
        ('{"a": 1, "a": 1}', '"a" is given twice'),
        ('{"b": {"a": 1, "\\u0061": 2}}', '"a" is given twice'),
        ("NaN", "NaN is not a JSON number"),
        ("[Infinity]", "Infinity is not a JSON number"),
        ("-Infinity", "-Infinity is not a JSON number"),
        ("1e999", "the number 1e999 is too large"),
        ("1" * 5000, "a number has too many digits"),
        ('{"a": ["\\ud800"]}', '"a[0]" contains half a surrogate pair'),
        ('{"\\udc00": 1}', "the input contains half a surrogate pair"),
        ('{"a": {"b": "x\\u0000"}}', '"a.b" contains a NUL character'),
        ('{"a": {"x\\u0000": 1}}', '"a" contains a NUL character'),
        (nested(65), "nested deeper than 64 levels"),
        (nested(100_000), "nested deeper than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested deeper than 64 levels"),
        (json.dumps([0] * 10_001), "the input has more than 10000 items"),
        (json.dumps(dict.fromkeys(map(str, range(10_001)))), "an object has more than 10000 members"),
    ],
)
def test_refuses(text: str, sentence: str) -> None:
    with pytest.raises(StrictJsonError) as caught:
        parse(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "text", [nested(64), json.dumps([0] * 10_000), '"\\ud83d\\ude00"', '{"a": {"b": 1}, "b": 1.5e3}', "null"]
)
def test_takes_what_is_at_the_limit(text: str) -> None:
    assert parse(text) == json.loads(text)


def test_names_stay_ascii_and_short() -> None:
    assert strict_json.member(("a", 0, "\u202e\n")) == '"a[0].\\u202e\\n"'
    assert len(strict_json.member(("x" * 1000,))) == 122


def test_canonical_is_one_text() -> None:
    assert canonical({"b": [1, 2.5], "a": "é"}) == canonical({"a": "é", "b": [1, 2.5]}) == '{"a":"é","b":[1,2.5]}'


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_canonical_survives_being_read_again(value: object) -> None:
    once = canonical(value)
    assert canonical(parse(once)) == once
