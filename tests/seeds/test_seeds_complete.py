"""Every block of code of the three seeds has its test, over all files."""

import ast
from pathlib import Path

import pytest

# Blocks of each seed: fragments of code, JSON and pictures, from its first line to its last.
COUNTS = {"001": 30, "003": 32, "004": 31}


@pytest.mark.parametrize("seed", COUNTS)
def test_no_block_is_left_out(seed: str) -> None:
    numbers: list[int] = []
    for path in sorted(Path(__file__).parent.glob(f"test_seed_{seed}*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BLOCKS":
                numbers += ast.literal_eval(node.value)
    assert sorted(numbers) == list(range(1, COUNTS[seed] + 1))
