"""What calls cost."""

import dataclasses
from pathlib import Path

import pytest

from aster.v1 import common_pb2
from asteros.errors import ConfigError
from asteros.providers.pricing import PriceTable

TABLE = PriceTable()


def usage(sent: int = 0, produced: int = 0, read: int = 0, written: int = 0) -> common_pb2.TokenUsage:
    return common_pb2.TokenUsage(
        input_tokens=sent, output_tokens=produced, cached_input_tokens=read, cache_write_tokens=written
    )


def test_each_kind_of_token_has_its_price() -> None:
    counted = usage(sent=1_000_000, produced=100_000, read=600_000, written=100_000)
    # 0.3 M plain at 3, 0.6 M read at 0.3, 0.1 M written at 3.75, 0.1 M out at 15
    assert TABLE.cost_usd("claude-sonnet-4-5-20250929", counted) == pytest.approx(0.9 + 0.18 + 0.375 + 1.5)


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("claude-sonnet-4-5", 3.0),
        ("claude-opus-4-1-20250805", 15.0),
        ("claude-opus-4-5", 5.0),
        ("gpt-4.1", 2.0),
        ("gpt-4.1-2025-04-14", 2.0),
        ("gpt-4.1-mini", 0.4),
        ("deepseek-chat", 0.28),
    ],
)
def test_the_longest_name_wins(model: str, dollars: float) -> None:
    assert TABLE.cost_usd(model, usage(sent=1_000_000)) == pytest.approx(dollars)


@pytest.mark.parametrize("model", ["echo", "demo", "flood:10@0", "script:anything"])
def test_offline_models_are_free(model: str) -> None:
    assert TABLE.cost_usd(model, usage(10, 10)) == 0.0


@pytest.mark.parametrize("model", ["", "gpt-4.2", "claude-fable-5-2", "echoes", "gpt-5-chat-latest"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert TABLE.cost_usd(model, usage(10, 10)) is None


def test_long_calls_have_their_own_price() -> None:
    assert TABLE.cost_usd("gpt-6-sol", usage(272_000)) == pytest.approx(0.544)
    assert TABLE.cost_usd("gpt-6-sol", usage(272_001, 1_000_000)) == pytest.approx(272_001 * 4 / 1e6 + 15)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models:\n  mine*: {input: 1, output: 2}\n", "utf-8")
    assert PriceTable(path).cost_usd("mine-7b", usage(1_000_000, 1_000_000, read=500_000)) == pytest.approx(3.0)


def test_an_operators_rows_stand_before_the_packaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models: {mine: {input: 1, output: 2}, gpt-4.1: {input: 1.5, output: 6}}\n", "utf-8")
    table = PriceTable(own=path)
    costs = [table.cost_usd(model, usage(1_000_000)) for model in ("mine", "gpt-4.1", "gpt-4.1-mini", "gpt-4.2")]
    assert costs == [1.0, 1.5, 0.4, None]


def test_a_price_cannot_be_changed() -> None:
    price = TABLE.price("echo")
    assert price is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        price.rates.input = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'models' must map"),
        ("models: [a]", "'models' must map"),
        ("models: {a: 1}", "a: needs input and output"),
        ("models: {a: {input: 1}}", "a: needs input and output"),
        ("models: {a: {input: 1, output: 1, cach_read: 1}}", "a: needs input and output"),
        ("models: {a: {input: free, output: 1}}", "a: input must be dollars"),
        ("models: {a: {input: -1, output: 1}}", "a: input must be dollars"),
        ("models: {a: {input: .nan, output: 1}}", "a: input must be dollars"),
        ("models: {a: {input: 1, output: 1, long: {input: 1, output: 1}}}", "long needs above"),
        ("models: {a: {input: 1, output: 1, long: {above: 5, input: 1}}}", "a: long: needs input"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_table_names_the_row(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=complaint):
        PriceTable(path)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        PriceTable(tmp_path / "none.yaml")
