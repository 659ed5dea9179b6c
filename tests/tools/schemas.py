"""Inputs made from a JSON Schema, for the keywords that tools here use; another one fails.

(hypothesis-jsonschema would know more, and stands on private parts of hypothesis that are gone.)"""

from typing import Any

from hypothesis import strategies as st

# Nothing that strict JSON refuses; much that paths, patterns and addresses trip over.
_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    st.text("./*[]{}()\\?-:a0 \n", max_size=12),
    st.sampled_from(["0", "folder", "folder/0", "../x", "/", ".", "https://example.com/", "x" * 300]),
)
_KNOWN = {
    "type", "enum", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "items", "minItems",
    "maxItems", "properties", "required", "additionalProperties", "propertyNames", "maxProperties", "description",
}  # fmt: skip
Values = st.SearchStrategy[Any]


def valid(schema: dict[str, Any]) -> Values:
    """Values that keep to a schema."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "string":
            return _strings(schema)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low, excluded = schema.get("minimum", schema.get("exclusiveMinimum")), "exclusiveMinimum" in schema
            return st.floats(low, schema.get("maximum"), exclude_min=excluded, allow_nan=False, allow_infinity=False)
        case "array":
            size = {"min_size": schema.get("minItems", 0), "max_size": min(schema.get("maxItems", 4), 4)}
            return st.lists(valid(schema["items"]), **size)
    assert schema["type"] == "object", schema
    return _objects(schema)


def spoiled(schema: dict[str, Any]) -> Values:
    """Objects that break the schema in one way each."""
    good = valid(schema)
    ways = [good.map(lambda args: {**args, "no_such_member": 1})]
    for member in schema.get("required", ()):
        ways.append(good.map(lambda args, member=member: {key: args[key] for key in args if key != member}))
    for member, rule in schema["properties"].items():
        wrong: Any = 7 if rule.get("type") == "string" or "enum" in rule else "seven"
        ways.append(good.map(lambda args, member=member, wrong=wrong: {**args, member: wrong}))
    return st.one_of(ways)


def _strings(schema: dict[str, Any]) -> Values:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 1000)
    return _TEXTS.filter(lambda text: len(text) >= shortest).map(lambda text: text[:longest])


def _objects(schema: dict[str, Any]) -> Values:
    required = set(schema.get("required", ()))
    members = {name: valid(rule) for name, rule in schema.get("properties", {}).items()}
    known = st.fixed_dictionaries(
        {name: members[name] for name in members if name in required},
        optional={name: members[name] for name in members if name not in required},
    )
    others = schema.get("additionalProperties", False)
    if not others:
        return known
    names = _strings({"minLength": 1, "maxLength": 20, **schema.get("propertyNames", {})})
    return st.dictionaries(names, valid(others), max_size=min(schema.get("maxProperties", 3), 3))
