"""The bench as a tool: it starts, it names its scenarios, it reads what its client says. No timing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `bench` is no installed package: it is run from the root

from aster.v1 import event_service_pb2  # noqa: E402
from bench import load, report  # noqa: E402
from bench.ceilings import raw_grpc  # noqa: E402
from bench.scenarios import SCENARIOS, about  # noqa: E402

QUANTILES = {"n": 3, "p50": 10, "p99": 30, "max": 30}
RESULT = {
    "events": 200,
    "messages": 4,
    "dropped": 7,
    "bytes": 4000,
    "calls": 2,
    "failed": 1,
    "unanswered": 0,
    "codes": {"8": 1},
    "wall_s": 2.0,
    "span_s": 0.5,
    "client_cpu_s": 1.8,
    "latency_us": QUANTILES,
    "first_us": QUANTILES,
    "call_us": QUANTILES,
}


def test_it_lists_its_scenarios() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--list"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=50
    )
    named = [line.split()[0] for line in done.stdout.splitlines()]
    assert named == list(SCENARIOS)
    assert all(about(name) for name in named)


def test_an_unknown_scenario_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "fanout,nosuch"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nosuch" in done.stderr
    assert "fanout" not in done.stderr.rpartition("error:")[2]


def test_the_result_of_the_client_is_read() -> None:
    result = load.parse(['{"open": 2, "open_s": 0.25}', "noise", json.dumps(RESULT)])
    result.server_cpu_s = 0.001
    assert (result.open_s, result.dropped, result.codes) == (0.25, 7, {"8": 1})
    assert result.events_s == 400  # over the span from first to last event, not over the whole run
    assert result.calls_s == 0.5  # a failed call is no call
    assert result.us_event == pytest.approx(5.0)
    assert result.client_share == pytest.approx(0.9)


def test_an_open_line_alone_is_no_result() -> None:
    with pytest.raises(ValueError, match="no result"):
        load.parse(['{"open": 2, "open_s": 0.25}'])


def test_nothing_is_divided_by_nothing() -> None:
    nothing = RESULT | {"events": 0, "calls": 0, "failed": 0, "span_s": 0.0, "wall_s": 0.0}
    result = load.parse([json.dumps(nothing)])
    assert (result.events_s, result.calls_s, result.us_event, result.us_call) == (0, 0, 0, 0)


def test_the_table_is_even_and_says_what_was_missed() -> None:
    rows = [
        report.Row("fanout 100", "1 deliveries/s", 0.123, 0.5, "raw batch-256", ">= 0.70x", False),
        report.Row("idle", "skipped", note="no g++"),
    ]
    lines = report.table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[3:7]] == ["0.12", "0.50x raw batch-256", ">= 0.70x", "NO"]
    assert "no g++" in lines[3]


def test_a_raw_frame_has_the_shape_of_ours() -> None:
    """The ceiling is worth something only while its events look like ours to the client and to the wire."""
    data = raw_grpc.frame(7, 1_700_000_000_000_000_005)
    (frame,) = event_service_pb2.SubscribeResponse.FromString(data).frames
    assert len(frame.cursor) == 36
    assert frame.event.event_type == "progress.text_chunk"
    assert (frame.event.create_time.seconds, frame.event.create_time.nanos) == (1_700_000_000, 5)
    assert frame.DESCRIPTOR.fields_by_name["event"].number == load.EVENTS["only"]
