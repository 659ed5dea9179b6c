"""Path templates that are none are refused when the bridge is built, with what is wrong."""

import pytest
from bridge.probe import pool

from asteros.bridge.bindings import BindingError, Service, Table, resolve
from asteros.bridge.template import TemplateError, parse

BAD = [
    "",
    "v1",
    "/v1/",
    "//v1",
    "/v1/{}",
    "/v1/{a",
    "/v1/a}",
    "/v1/{a}}",
    "/v1/{a={b}}",
    "/v1/{1a}",
    "/v1/{a.}",
    "/v1/{a=}",
    "/v1/{a=b/}",
    "/v1/{a}x",
    "/v1/a*",
    "/v1/***",
    "/v1/**/**",
    "/v1/{a=**}/{b=**}",
    "/v1/{a}/{a}",
    "/v1/x:",
]


@pytest.mark.parametrize("text", BAD)
def test_no_template(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text)


def test_parts() -> None:
    template = parse("/v1/{a.b=x/*/y}/**:go:now")
    assert template.verb == "go:now"
    assert [(each.field, each.segments) for each in template.variables] == [("a.b", ("x", "*", "y"))]


@pytest.mark.parametrize("path", ["nope", "inner.nope", "name.id", "children.id", "inner."])
def test_no_field(path: str) -> None:
    with pytest.raises(BindingError):
        resolve(pool().FindMessageTypeByName("probe.v1.Everything"), path)


def test_table_is_in_order() -> None:
    """Streams of requests and methods without a rule have no binding."""
    table = Table([Service(pool().FindServiceByName(f"probe.v1.{name}")) for name in ("Probe", "Special")])
    assert [binding.number for binding in table if binding.method.name == "Get"] == [0, 1, 2, 3, 4]
    assert {"Silent", "Upload"}.isdisjoint(binding.method.name for binding in table)
