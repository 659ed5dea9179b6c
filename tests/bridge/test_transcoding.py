"""The transcoder alone, case by case: what a request becomes, in both styles.

Each row is a request and what the server was asked, without empty fields; or the HTTP status
of a refusal."""

import base64
import json
from typing import Any

import pytest
from bridge.probe import STYLES, Stand

pytestmark = pytest.mark.anyio
T = "2026-05-17T10:00:00Z"

# -- the path --------------------------------------------------------------------------

PATHS: list[tuple[str, str, Any]] = [
    ("GET", "/", {}),
    ("GET", "/v1/things/a", {"name": "a"}),
    ("GET", "/v1/things/", {}),
    ("GET", "/v1/things/a:b", {"name": "a:b"}),
    ("GET", "/v1/things/:b", {"name": ":b"}),
    ("GET", "/v1/things/a%2Fb", {"name": "a/b"}),
    ("GET", "/v1/things/a%20b", {"name": "a b"}),
    ("GET", "/v1/things/a+b", {"name": "a+b"}),
    ("GET", "/v1/things/%C3%A9", {"name": "é"}),
    ("GET", "/v1/things/%25", {"name": "%"}),
    ("GET", "/v1/things/%252F", {"name": "%2F"}),
    ("GET", "/v1/things/..", {"name": ".."}),
    ("GET", "/v1/shelves/s/things/things/x", {"inner": {"id": "s"}, "name": "things/x"}),
    ("GET", "/v1/shelves/a%2Fb/things/things/c%2Fd", {"inner": {"id": "a/b"}, "name": "things/c/d"}),
    ("GET", "/v1/any/whatever/fixed/x", {"name": "x"}),
    ("GET", "/v1/deep/x", {"inner": {"deeper": {"deeper": {"id": "x"}}}}),
    ("GET", "/v1/files/a", {"name": "files/a"}),
    ("GET", "/v1/files/a/b/c", {"name": "files/a/b/c"}),
    ("GET", "/v1/files/a%2Fb/c%20d", {"name": "files/a%2Fb/c d"}),
    ("GET", "/v1/files/a%3Ab%C3%A9", {"name": "files/a%3Abé"}),
    ("GET", "/v1/files/a/b:info", {"name": "files/a/b"}),
    ("GET", "/v1/files/a/b:info:info", {"name": "files/a/b:info"}),
    ("GET", "/v1/files/a/b:other", {"name": "files/a/b:other"}),
    ("GET", "/v1/files/", {"name": "files/"}),
    ("GET", "/v1/files", {"name": "files/"}),
    ("GET", "/v1/tail/a/b/end", {"name": "a/b"}),
    ("GET", "/v1/wild/a/b", {}),
    ("GET", "/v1/wild", {}),
    ("GET", "/v1/same/x", {"note": "x"}),
    ("LINK", "/v1/things/a", {"name": "a"}),
    ("LOCK", "/v1/whatever/a", {"name": "a"}),
    ("GET", "/v1/whatever/a", {"name": "a"}),
    ("DELETE", "/v1/things/a", {"name": "a"}),
    ("GET", "/v1/nothing", 404),
    ("GET", "/v1/things/a/b", 404),
    ("GET", "/v1/things", 405),
    ("GET", "//v1/things/a", 404),
    ("GET", "/V1/things/a", 404),
    ("GET", "/probe.v1.Probe/Silent", 404),
    ("POST", "/v1/upload", 404),
    ("PATCH", "/v1/files/a", 405),
    ("GET", "/v1/things/%zz", 400),
    ("GET", "/v1/things/%", 400),
    ("GET", "/v1/things/%ff", 400),
    ("GET", "/v1/files/%2", 400),
    ("GET", "/v1/typed/count/-5", {"count": -5}),
    ("GET", "/v1/typed/count/x", 400),
    ("GET", "/v1/typed/count/", 400),
    ("GET", "/v1/typed/count/2147483648", 400),
    ("GET", "/v1/typed/count/1_0", 400),
    ("GET", "/v1/typed/big/9223372036854775807", {"big": "9223372036854775807"}),
    ("GET", "/v1/typed/big/9223372036854775808", 400),
    ("GET", "/v1/typed/ubig/18446744073709551615", {"ubig": "18446744073709551615"}),
    ("GET", "/v1/typed/ubig/-1", 400),
    ("GET", "/v1/typed/ratio/1.5e3", {"ratio": 1500.0}),
    ("GET", "/v1/typed/ratio/one", 400),
    ("GET", "/v1/typed/part/0.5", {"part": 0.5}),
    ("GET", "/v1/typed/part/1e39", 400),
    *(("GET", f"/v1/typed/flag/{text}", {"flag": True}) for text in ("1", "t", "T", "TRUE", "true", "True")),
    *(("GET", f"/v1/typed/flag/{text}", {}) for text in ("0", "f", "F", "FALSE", "false", "False")),
    ("GET", "/v1/typed/flag/yes", 400),
    ("GET", "/v1/typed/data/-_8=", {"data": "+/8="}),
    ("GET", "/v1/typed/data/%2B%2F8%3D", {"data": "+/8="}),
    ("GET", "/v1/typed/data/AA", {"data": "AA=="}),
    ("GET", "/v1/typed/data/!", 400),
    ("GET", "/v1/typed/kind/KIND_BAD", {"kind": "KIND_BAD"}),
    ("GET", "/v1/typed/kind/1", {"kind": "KIND_GOOD"}),
    ("GET", "/v1/typed/kind/kind_bad", 400),
    ("GET", "/v1/typed/kind/7", 400),
    ("GET", f"/v1/typed/at/{T}", {"at": T}),
    ("GET", "/v1/typed/at/yesterday", 400),
    ("GET", "/v1/typed/wait/90s", {"wait": "90s"}),
    ("GET", "/v1/typed/wait/1m30s", {"wait": "90s"}),
    ("GET", "/v1/typed/wait/-1.5s", {"wait": "-1.500s"}),
    ("GET", "/v1/typed/wait/1h2m3s", {"wait": "3723s"}),
    ("GET", "/v1/typed/wait/90", 400),
    ("GET", "/v1/typed/mask/a,b.c_d", {"mask": "a,b.cD"}),
    ("GET", "/v1/typed/wrapped/x", {"wrappedText": "x"}),
    ("GET", "/v1/typed/tags/a,b", {"tags": ["a", "b"]}),
    ("GET", "/v1/typed/tags/a%2Cb", {"tags": ["a", "b"]}),
    ("GET", "/v1/typed/numbers/1,2,3", {"numbers": [1, 2, 3]}),
    ("GET", "/v1/typed/numbers/1,x", 400),
    ("GET", "/v1/typed/kinds/1,KIND_BAD", {"kinds": ["KIND_GOOD", "KIND_BAD"]}),
    ("GET", "/v1/typed/text/x", {"text": "x"}),
    ("GET", "/v1/typed/inner/x", 400),
]

# -- the query: on GET /v1/things/a -----------------------------------------------------

QUERIES: list[tuple[str, Any]] = [
    ("", {}),
    ("?", {}),
    ("unknown=1", {}),
    ("un.known=1&name.x=1", 400),
    ("name=b", {}),
    ("count=5", {"count": 5}),
    ("count=5&count=6", 400),
    ("count=x", 400),
    ("count=", 400),
    ("note=", {"note": ""}),
    ("text=a%26b+c", {"text": "a&b c"}),
    ("text=%zz", 400),
    ("text=%ff", 400),
    ("tags=a&tags=b", {"tags": ["a", "b"]}),
    ("tags=a,b", {"tags": ["a,b"]}),
    ("numbers=1&numbers=2", {"numbers": [1, 2]}),
    ("kinds=KIND_GOOD&kinds=2", {"kinds": ["KIND_GOOD", "KIND_BAD"]}),
    ("kind=9", 400),
    ("flag=T", {"flag": True}),
    ("data=AAE", {"data": "AAE="}),
    ("wrapped_text=x", {"wrappedText": "x"}),
    ("wrappedText=x", {"wrappedText": "x"}),
    ("wrappedBig=7", {"wrappedBig": "7"}),
    ("wrappedFlag=false", {"wrappedFlag": False}),
    ("odd_name=x", {"theOddOne": "x"}),
    ("theOddOne=x", {"theOddOne": "x"}),
    ("oddName=x", {}),
    ("inner.id=x", {"inner": {"id": "x"}}),
    ("inner.pageSize=x&inner.deeper.id=y", {"inner": {"pageSize": "x", "deeper": {"id": "y"}}}),
    ("inner.deeper.page_size=x", {"inner": {"deeper": {"pageSize": "x"}}}),
    ("inner.tags=a&inner.tags=b", {"inner": {"tags": ["a", "b"]}}),
    ("inner.labels[k]=v", {"inner": {"labels": {"k": "v"}}}),
    ("inner.unknown=x", {}),
    ("inner=x", 400),
    ("inner.id.x=1", 400),
    ("children.id=x", 400),
    ("children=x", 400),
    ("labels[a]=1&labels[b.c]=2", {"labels": {"a": "1", "b.c": "2"}}),
    ("labels%5Ba%5D=1", {"labels": {"a": "1"}}),
    ("labels[]=1", {"labels": {"": "1"}}),
    ("labels[a]=1&labels[a]=2", 400),
    ("labels=1", 400),
    ("labels.a=1", 400),
    ("counts[1]=2", {"counts": {"1": "2"}}),
    ("counts[x]=2", 400),
    ("counts[1]=x", 400),
    ("inners[a]=1", 400),
    ("count[1]=2", 400),
    ("number=1", {"number": 1}),
    ("number=1&text=x", 400),
    ("text=x&nested.id=y", 400),
    ("nested.id=x&nested.title=y", {"nested": {"id": "x", "title": "y"}}),
    ("nested.id=x&other.id=y", 400),
    (f"at={T}", {"at": T}),
    (f"times={T}&times={T}", {"times": [T, T]}),
    ("wait=1m", {"wait": "60s"}),
    ("wait=0.000000001s", {"wait": "0.000000001s"}),
    ("wait=x", 400),
    ("mask=a,bC", {"mask": "a,bC"}),
    ("value=%7B%22a%22:1%7D", {"value": {"a": 1.0}}),
    ("free=%7B%22a%22:1%7D", {"free": {"a": 1.0}}),
    ("packed=x", 400),
    ("big=-9223372036854775808", {"big": "-9223372036854775808"}),
    ("small=4294967295", {"small": 4294967295}),
    ("small=4294967296", 400),
    ("ratio=NaN", {"ratio": "NaN"}),
    ("ratio=-inf", {"ratio": "-Infinity"}),
    ("ratio=1e999", 400),
]

# -- the body ---------------------------------------------------------------------------

INNER = {"id": "i", "title": "t"}
BODIES: list[tuple[str, str, Any, Any]] = [
    ("POST", "/v1/things", {"name": "a", "count": 1}, {"name": "a", "count": 1}),
    ("POST", "/v1/things", {"wrapped_text": "a", "wrappedBig": "5"}, {"wrappedText": "a", "wrappedBig": "5"}),
    ("POST", "/v1/things", {"kind": 2, "big": 5}, {"kind": "KIND_BAD", "big": "5"}),
    ("POST", "/v1/things", {"kind": "KIND_GOOD", "big": "5"}, {"kind": "KIND_GOOD", "big": "5"}),
    ("POST", "/v1/things", {"inner": INNER, "children": [INNER]}, {"inner": INNER, "children": [INNER]}),
    ("POST", "/v1/things", {"labels": {"a": "b"}, "at": T}, {"labels": {"a": "b"}, "at": T}),
    ("POST", "/v1/things", {"wait": "1.5s", "mask": "a,bC"}, {"wait": "1.500s", "mask": "a,bC"}),
    ("POST", "/v1/things", {"free": {"x": [1, None]}}, {"free": {"x": [1.0, None]}}),
    ("POST", "/v1/things", {"text": None, "number": 3}, {"number": 3}),
    ("POST", "/v1/things?count=5", {"name": "a"}, {"name": "a"}),
    ("POST", "/v1/things", {}, {}),
    ("POST", "/v1/things", b"", {}),
    ("POST", "/v1/things", b"  ", {}),
    ("POST", "/v1/things", {"text": "a", "number": 3}, 400),
    ("POST", "/v1/things", {"count": "x"}, 400),
    ("POST", "/v1/things", {"count": 1.5}, 400),
    ("POST", "/v1/things", {"count": 1e10}, 400),
    ("POST", "/v1/things", {"name": 5}, 400),
    ("POST", "/v1/things", {"name": ["a"]}, 400),
    ("POST", "/v1/things", {"inner": "x"}, 400),
    ("POST", "/v1/things", {"at": "x"}, 400),
    ("POST", "/v1/things", {"packed": {"@type": "type.googleapis.com/no.Such"}}, 400),
    ("POST", "/v1/things", {"packed": []}, 400),
    ("POST", "/v1/things", [1], 400),
    ("POST", "/v1/things", "text", 400),
    ("POST", "/v1/things", b"{", 400),
    ("POST", "/v1/things", b'{"name":"a"} x', 400),
    ("POST", "/v1/things", b'{"name":"a","name":"b"}', 400),
    ("POST", "/v1/things", b'{"theOddOne":"a","odd_name":"b"}', 400),
    ("POST", "/v1/things", b'{"wrappedText":"a","wrapped_text":"b"}', 400),
    ("POST", "/v1/things", b'{"ratio":NaN}', 400),
    ("POST", "/v1/things", b'{"ratio":1e400}', 400),
    ("POST", "/v1/things", b'{"name":"\\ud800"}', 400),
    ("POST", "/v1/things", b'{"name":"\\u0000"}', 400),
    ("POST", "/v1/things", b'{"name":"\xff"}', 400),
    ("POST", "/v1/things", b'{"inner":' + b'{"deeper":' * 62 + b"{}" + b"}" * 63, 200),
    ("POST", "/v1/things", b'{"inner":' + b'{"deeper":' * 63 + b"{}" + b"}" * 64, 400),
    ("POST", "/v1/things", {"inner": ""}, 400),
    ("POST", "/v1/things", {"children": ["x"]}, 400),
    ("POST", "/v1/things", {"children": {"id": "x"}}, 400),
    ("POST", "/v1/things", {"inners": {"a": INNER}}, {"inners": {"a": INNER}}),
    ("POST", "/v1/things", {"inners": {"a": 1}}, 400),
    ("POST", "/v1/things", {"inners": []}, 400),
    ("POST", "/v1/things", b"[" * 100_000, 400),
    ("POST", "/v1/things", b'{"tags":[' + b'"",' * 9_999 + b'""]}', 200),
    ("POST", "/v1/things", b'{"tags":[' + b'"",' * 10_000 + b'""]}', 400),
    ("POST", "/v1/things", b'{"big":' + b"9" * 5_000 + b"}", 400),
    ("POST", "/v1/shelves/s/inner", INNER, {"name": "s", "inner": INNER}),
    ("POST", "/v1/shelves/s/inner?count=5", INNER, {"name": "s", "inner": INNER, "count": 5}),
    ("POST", "/v1/shelves/s/inner?inner.title=x&inner=x&name=y", INNER, {"name": "s", "inner": INNER}),
    ("POST", "/v1/shelves/s/inner", b"", {"name": "s"}),
    ("POST", "/v1/title", "x", {"inner": {"title": "x"}}),
    ("POST", "/v1/title?inner.id=i&inner.title=y", "x", {"inner": {"title": "x", "id": "i"}}),
    ("POST", "/v1/tags", ["a", "b"], {"tags": ["a", "b"]}),
    ("POST", "/v1/tags?tags=c", ["a"], {"tags": ["a"]}),
    ("POST", "/v1/tags", "a", 400),
    ("POST", "/v1/count", 5, {"count": 5}),
    ("POST", "/v1/count", "5", {"count": 5}),
    ("POST", "/v1/count", "x", 400),
    ("POST", "/v1/kind", "KIND_BAD", {"kind": "KIND_BAD"}),
    ("POST", "/v1/kind", 1, {"kind": "KIND_GOOD"}),
    ("POST", "/v1/labels", {"a": "b"}, {"labels": {"a": "b"}}),
    ("POST", "/v1/bodiless/x?count=5", b"", {"name": "x", "count": 5}),
    ("POST", "/v1/bodiless/x", b"not json", {"name": "x"}),
    ("PUT", "/v1/things/a", {"name": "b", "count": 1}, {"name": "a", "count": 1}),
    ("PUT", "/v1/things/a%2Fb", {}, {"name": "a/b"}),
    ("POST", "/v1/things/a:cancel", {"count": 1}, {"name": "a", "count": 1}),
    ("POST", "/v1/things/a:cancel:now", {}, {"name": "a"}),
    ("POST", "/v1/things/a:b:cancel", {}, {"name": "a:b"}),
    ("POST", "/v1/things/:cancel", {}, 405),
    ("POST", "/v1/things/a:other", {}, 405),
    ("POST", "/v1/things/a%3Acancel", {}, 405),
    ("PATCH", "/v1/things/x", {"title": "t"}, {"inner": {"id": "x", "title": "t"}, "updateMask": "title"}),
    (
        "PATCH",
        "/v1/things/x",
        {"title": "t", "deeper": {"id": "d", "pageSize": "p"}},
        {
            "inner": {"id": "x", "title": "t", "deeper": {"id": "d", "pageSize": "p"}},
            "updateMask": "deeper.id,deeper.pageSize,title",
        },
    ),
    (
        "PATCH",
        "/v1/things/x",
        {"tags": ["a"], "labels": {"k": "v"}, "free": {"a": 1}, "at": T},
        {
            "inner": {"id": "x", "tags": ["a"], "labels": {"k": "v"}, "free": {"a": 1.0}, "at": T},
            "updateMask": "at,free,labels,tags",
        },
    ),
    ("PATCH", "/v1/things/x", {"deeper": {}}, {"inner": {"id": "x", "deeper": {}}, "updateMask": "deeper"}),
    ("PATCH", "/v1/things/x", {"title": None}, {"inner": {"id": "x"}, "updateMask": "title"}),
    ("PATCH", "/v1/things/x", {}, {"inner": {"id": "x"}}),
    (
        "PATCH",
        "/v1/things/x?updateMask=tags,pageSize",
        {"title": "t"},
        {"inner": {"id": "x", "title": "t"}, "updateMask": "tags,pageSize"},
    ),
    ("PATCH", "/v1/whole/n", {"count": 1}, {"name": "n", "count": 1}),
]

# -- the response --------------------------------------------------------------------------

PICKED: list[tuple[str, Any]] = [
    ("/v1/picked/name/x", "x"),
    ("/v1/picked/tags/a,b", ["a", "b"]),
    ("/v1/picked/labels?labels[a]=b", {"a": "b"}),
    ("/v1/picked/labels", {}),
    ("/v1/picked/big/5", "5"),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("method", "target", "expected"), PATHS)
async def test_path(stand: Stand, style: str, method: str, target: str, expected: Any) -> None:
    answer = await getattr(stand, style)(method, target)
    if isinstance(expected, int):
        assert answer.status == expected
    else:
        assert (answer.status, answer.said) == (200, expected), answer.body


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_query(stand: Stand, style: str, query: str, expected: Any) -> None:
    answer = await getattr(stand, style)("GET", f"/v1/things/a?{query}")
    if isinstance(expected, int):
        assert answer.status == expected, answer.body
    else:
        assert (answer.status, answer.said) == (200, {"name": "a", **expected}), answer.body


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("method", "target", "body", "expected"), BODIES)
async def test_body(stand: Stand, style: str, method: str, target: str, body: Any, expected: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await getattr(stand, style)(method, target, raw, content_type="application/json")
    if isinstance(expected, int):
        assert answer.status == expected, answer.body
    else:
        assert (answer.status, answer.said) == (200, expected), answer.body


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("target", "expected"), PICKED)
async def test_picked_response(stand: Stand, style: str, target: str, expected: Any) -> None:
    assert (await getattr(stand, style)("GET", target)).json == expected


@pytest.mark.parametrize("style", STYLES)
async def test_picked_message(stand: Stand, style: str) -> None:
    caller = getattr(stand, style)
    inner = (await caller("GET", "/v1/picked/inner/x")).json
    assert inner == {"id": "x", "title": "", "tags": [], "labels": {}, "pageSize": ""}
    assert (await caller("GET", "/v1/picked/deeper/x")).json["id"] == "x"


async def test_empty_values_are_printed(stand: Stand) -> None:
    told = (await stand.gateway("GET", "/v1/things/a?big=5")).json
    assert (told["name"], told["big"], told["kind"], told["tags"], told["labels"]) == (
        "a", "5", "KIND_UNSPECIFIED", [], {}
    )  # fmt: skip
    assert told["theOddOne"] == ""
    assert "inner" not in told  # what is not there is left out
    assert "note" not in told


async def test_raw_response(stand: Stand) -> None:
    for caller in (stand.gateway, stand.aster):
        answer = await caller("GET", "/v1/raw/abc")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"abcabc", "text/csv")


# -- where the styles differ -----------------------------------------------------------------


async def test_unknown_member(stand: Stand) -> None:
    body = json.dumps({"name": "a", "inner": {"nope": 1, "id": "i"}}).encode()
    ignored = await stand.gateway("POST", "/v1/things", body, content_type="application/json")
    assert ignored.said == {"name": "a", "inner": {"id": "i"}}
    refused = await stand.aster("POST", "/v1/things", body, content_type="application/json")
    assert refused.status == 400
    info, bad, _ = refused.json["error"]["details"]
    assert info["reason"] == "UNKNOWN_FIELD"
    assert bad["fieldViolations"] == [{"field": "inner.nope", "description": "is not known"}]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
async def test_other_content_type(stand: Stand, media: str) -> None:
    headers = {"content_type": media} if media else {}
    assert (await stand.gateway("POST", "/v1/things", b'{"name":"a"}', **headers)).said == {"name": "a"}
    refused = await stand.aster("POST", "/v1/things", b'{"name":"a"}', **headers)
    assert (refused.status, refused.json["error"]["details"][0]["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_compressed_body(stand: Stand) -> None:
    headers = {"content_type": "application/json", "content_encoding": "gzip"}
    assert (await stand.aster("POST", "/v1/things", b"\x1f\x8b", **headers)).status == 415


async def test_json_of_another_kind(stand: Stand) -> None:
    for media in ("application/json; charset=utf-8", "application/merge-patch+json", "Application/JSON"):
        assert (await stand.aster("POST", "/v1/things", b"{}", content_type=media)).status == 200


async def test_unusable_accept(stand: Stand) -> None:
    for accept in ("text/html", "application/json;q=0", "image/*"):
        assert (await stand.gateway("GET", "/v1/things/a", accept=accept)).status == 200
        refused = await stand.aster("GET", "/v1/things/a", accept=accept)
        assert (refused.status, refused.json["error"]["status"]) == (406, "INVALID_ARGUMENT")
    for accept in ("text/html, */*;q=0.1", "application/*", "APPLICATION/JSON"):
        assert (await stand.aster("GET", "/v1/things/a", accept=accept)).status == 200


async def test_other_method(stand: Stand) -> None:
    answer = await stand.gateway("PUT", "/v1/things")
    assert (answer.status, answer.json) == (405, {"code": 12, "message": answer.json["message"], "details": []})
    answer = await stand.aster("PUT", "/v1/things")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert (answer.json["error"]["code"], answer.json["error"]["status"]) == (12, "UNIMPLEMENTED")


async def test_large_body(stand: Stand) -> None:
    at_limit = b'{"name":"' + b"a" * (1024 * 1024 - 11) + b'"}'
    assert len(at_limit) == 1024 * 1024
    for caller in (stand.gateway, stand.aster):
        assert (await caller("POST", "/v1/things", at_limit, content_type="application/json")).status == 200
        assert (await caller("POST", "/v1/things", at_limit + b" ", content_type="application/json")).status == 413
        declared = await caller("POST", "/v1/things", b"", content_type="application/json", content_length="1048577")
        assert declared.status == 413


# -- forms -------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"


async def test_form_to_a_get(stand: Stand) -> None:
    answer = await stand.gateway("POST", "/v1/any/x/fixed/a", b"count=5&tags=x", content_type=FORM)
    assert answer.said == {"name": "a", "count": 5, "tags": ["x"]}
    assert (await stand.gateway("POST", "/v1/any/x/fixed/a", b"count=5")).status == 405
    assert (await stand.gateway("POST", "/v1/things/a", b"", content_type=FORM)).said == {"name": "a"}


async def test_method_override(stand: Stand) -> None:
    override = {"content_type": FORM, "x_http_method_override": "DELETE"}
    assert (await stand.gateway("POST", "/v1/things/a", b"", **override)).said == {"name": "a"}
    assert (await stand.gateway("POST", "/v1/tags", b"", **override)).status == 405
    override["content_type"] = "application/json"
    assert (await stand.gateway("POST", "/v1/things/a", b"", **override)).status == 405


# -- failures ------------------------------------------------------------------------------

CODES = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500,
    14: 503, 15: 500, 16: 401,
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("code", "status"), CODES.items())
async def test_code(stand: Stand, style: str, code: int, status: int) -> None:
    answer = await getattr(stand, style)("GET", f"/v1/fail/{code}?name=why")
    assert answer.status == status
    told = answer.json if style == "gateway" else answer.json["error"]
    assert (told["code"], told["message"], told["details"]) == (code, "why", [])
    assert ("www-authenticate" in answer.headers) == (code == 16)


async def test_details(stand: Stand) -> None:
    answer = await stand.gateway("GET", "/v1/fail/8?name=why&flag=true")
    info, retry, unknown = answer.json["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "WHY", "domain": "probe", "metadata": {"k": "v"}
    }  # fmt: skip
    assert retry["retryDelay"] == "1.000000001s"
    assert unknown == {"@type": "type.example/unknown.Type", "value": base64.b64encode(b"\1\2").decode()}
    assert "retry-after" not in answer.headers
    assert (await stand.aster("GET", "/v1/fail/8?flag=true")).headers["retry-after"] == "2"


# -- headers -------------------------------------------------------------------------------


async def test_headers_become_metadata(stand: Stand) -> None:
    answer = await stand.gateway(
        "GET", "/v1/metadata", authorization="Bearer k", user_agent="probe", x_custom="no", grpc_metadata_X_Mine="yes",
        grpc_metadata_data_bin="AAE=", traceparent="00-1", x_request_id="r", x_forwarded_for="10.0.0.1",
        grpc_metadata_grpc_timeout="1S", referer="caf\xe9",
    )  # fmt: skip
    told = answer.said["labels"]
    assert (told["authorization"], told["grpcgateway-authorization"]) == ("Bearer k", "Bearer k")
    assert told["grpcgateway-user-agent"] == "probe"
    assert (told["x-mine"], told["data-bin"], told["traceparent"], told["x-request-id"]) == (
        "yes", "bytes 0001", "00-1", "r"
    )  # fmt: skip
    assert (told["x-forwarded-for"], told["x-forwarded-host"]) == ("10.0.0.1, 192.0.2.1", "localhost:8080")
    assert not {"x-custom", "grpcgateway-x-custom", "grpcgateway-referer", "grpc-timeout"} & told.keys()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1S", 1.0), ("100m", 0.1), ("1M", 60.0), ("1H", 3600.0), ("900000u", 0.9), ("9999999n", 0.01)],
)
async def test_deadline(stand: Stand, text: str, seconds: float) -> None:
    told = await stand.gateway("GET", "/v1/metadata", grpc_timeout=text)
    if told.status == 200:
        assert seconds - 0.5 < told.said["ratio"] <= seconds * 1.01 + 0.1  # gRPC rounds it
    else:  # the shortest of them
        assert (told.status, seconds < 0.2) == (504, True)


@pytest.mark.parametrize("text", ["1", "S", "1x", "-1S", "123456789S", "1.5S"])
async def test_bad_deadline(stand: Stand, text: str) -> None:
    for caller in (stand.gateway, stand.aster):
        assert (await caller("GET", "/v1/metadata", grpc_timeout=text)).status == 400


async def test_deadline_passes(stand: Stand) -> None:
    assert (await stand.gateway("GET", "/v1/hang", grpc_timeout="10m")).status == 504


async def test_bad_binary_header(stand: Stand) -> None:
    assert (await stand.gateway("GET", "/v1/metadata", grpc_metadata_data_bin="!")).status == 400


async def test_metadata_becomes_headers(stand: Stand) -> None:
    plain = await stand.gateway("GET", "/v1/things/a")
    assert plain.headers["grpc-metadata-x-initial"] == "i"
    assert "grpc-trailer-x-trailer" not in plain.headers
    asked = await stand.gateway("GET", "/v1/things/a", te="trailers")
    assert asked.headers["grpc-trailer-x-trailer"] == "t"
