"""The three stream parsers meet mutated answers (F12): a Finish or one of our errors, nothing else.

`make fuzz` takes FUZZ_SECONDS (600) in sum and prints its seed; FUZZ_SECONDS and SEED repeat a run."""

import base64
import os
import random
import time
from collections import Counter

import pytest
from providers.fuzzing import PARSERS, Memory, judge, reader
from providers.mutate import Mutator
from providers.recorded import load

pytestmark = pytest.mark.anyio

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 600)
SEED = int(os.environ.get("SEED") or random.randrange(2**32))
PROGRESS = 20.0  # seconds between lines


class Fuzzer:
    """One parser and its mutants."""

    def __init__(self, parser: str, seed: int) -> None:
        self.memory = Memory()
        self.provider = reader(parser, self.memory)
        self.mutator = Mutator([each.body for each in load(*PARSERS[parser])], seed)
        self.outcomes: Counter[str] = Counter()

    async def once(self) -> None:
        body = self.mutator.draw()
        self.memory.pieces = self.mutator.packets(body)
        try:
            self.outcomes[await judge(self.provider)] += 1
        except Exception as error:
            error.add_note(f"found by {base64.b64encode(body).decode()}")
            raise


@pytest.mark.parametrize("parser", PARSERS)
async def test_a_few_mutants(parser: str) -> None:
    fuzzer = Fuzzer(parser, 1)
    for _ in range(200):
        await fuzzer.once()
    await fuzzer.provider.aclose()
    assert len(fuzzer.outcomes) > 2, "mutants that all end alike find nothing"


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("parser", PARSERS)
async def test_mutants_for_minutes(parser: str, capsys: pytest.CaptureFixture[str]) -> None:
    fuzzer, share = Fuzzer(parser, SEED), SECONDS / len(PARSERS)
    began = told = time.monotonic()
    while time.monotonic() - began < share:
        await fuzzer.once()
        if time.monotonic() - told > PROGRESS:
            told = time.monotonic()
            _tell(capsys, parser, told - began, fuzzer)
    await fuzzer.provider.aclose()
    _tell(capsys, parser, share, fuzzer)


def _tell(capsys: pytest.CaptureFixture[str], parser: str, spent: float, fuzzer: Fuzzer) -> None:
    with capsys.disabled():
        print(
            f"\n{parser} SEED={SEED} {spent:.0f} s {fuzzer.outcomes.total()} runs {dict(fuzzer.outcomes)}", flush=True
        )
