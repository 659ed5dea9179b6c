"""What Google's own library encodes, we decode: random messages through random templates."""

from typing import Any
from urllib.parse import quote, urlencode

from bridge.probe import pool
from google.api_core import path_template, rest_helpers
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from asteros.bridge import requests
from asteros.bridge.bindings import Service, Table

TABLE = Table([Service(pool().FindServiceByName("probe.v1.Probe"), "aster")])
# Every template of the probe that sets text, and the fields it sets.
TEMPLATES = {
    "get": ["/v1/things/{name}", "/v1/shelves/{inner.id}/things/{name=things/*}", "/v1/deep/{inner.deeper.deeper.id}"],
    "post": ["/v1/shelves/{name}/inner"],
    "delete": ["/v1/things/{name}"],
}
ROUTES = [(method, uri) for method, uris in TEMPLATES.items() for uri in uris]

# No colon at the end of a value could be a verb, no slash may be in a single segment.
segment = st.text(st.characters(codec="utf-8", exclude_characters="/:\0"), min_size=1, max_size=12)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)  # NUL is refused


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A route, and a request that fits it."""
    method, uri = draw(st.sampled_from(ROUTES))
    name = draw(segment)
    request: dict[str, Any] = {
        "name": f"things/{name}" if "things/*" in uri else name,
        "count": draw(st.integers(-(2**31), 2**31 - 1)),
        "big": str(draw(st.integers(-(2**63), 2**63 - 1))),
        "flag": draw(st.booleans()),
        "tags": draw(st.lists(words, max_size=3)),
        "note": draw(words),
        "inner": {"id": draw(segment), "title": draw(words)},
    }
    if "deeper" in uri:
        request["inner"]["deeper"] = {"deeper": {"id": draw(segment)}}
    return method, uri, request


@settings(max_examples=100, deadline=None, derandomize=True)
@given(asked())
def test_decoded_is_what_was_encoded(given: tuple[str, str, dict[str, Any]]) -> None:
    method, uri, request = given
    rule = {"method": method, "uri": uri, **({"body": "inner"} if method == "post" else {})}
    encoded = path_template.transcode([rule], **request)
    query = rest_helpers.flatten_query_params(encoded["query_params"])
    pairs = [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in query]
    binding, variables = TABLE.find(method.upper(), encoded["uri"])
    body = json_format.json.dumps(encoded["body"]).encode() if "body" in encoded else b""
    sent = urlencode(pairs).encode()
    message = requests.request_of(binding, variables, requests.pairs_of(sent), body)
    wanted = json_format.ParseDict(request, type(message)(), descriptor_pool=pool())
    assert message == wanted


reserved = st.text(st.sampled_from("ab!#$&'()*+,;=?@[]é "), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(reserved, min_size=1, max_size=4))
def test_double_star_keeps_what_divides(parts: list[str]) -> None:
    """Encoded dividers of `**` stay encoded, so that the value can be taken apart again."""
    path = "/".join(quote(part, safe="") for part in parts)
    binding, variables = TABLE.find("GET", f"/v1/files/{path}")
    kept = path.replace("%C3%A9", "é").replace("%20", " ")
    assert variables == {"name": f"files/{kept}"}
    assert binding.method.name == "Files"
