"""Failures inside the conformance suite are explained like those of a test file."""

import pytest

for _part in (
    "conformance",
    "conform_agents",
    "conform_resources",
    "conform_stars",
    "conform_trim",
    "conform_work",
    "conform_workflows",
):
    pytest.register_assert_rewrite(f"stores.{_part}")
