"""From exec to the health answer SERVING, on a data directory that exists. The first start is dropped."""

from bench.harness import Bench, median
from bench.report import Row

GOAL = 1.5  # seconds


def run(bench: Bench) -> list[Row]:
    data = bench.folder("startup")
    seconds, memory, cpu = [], [], []
    for number in range(bench.pick(3, 6)):
        with bench.aster(data) as ours:
            if number:
                seconds.append(ours.start_s)
                memory.append(ours.process.rss_kib() / 1024)
                cpu.append(ours.process.cpu_s())
    bench.note("startup", seconds=seconds, rss_mib=memory, cpu_s=cpu)
    start = median(seconds)
    note = f"{median(cpu):.2f} s of CPU, RSS {median(memory):.0f} MiB"
    return [Row("startup warm", f"{start:.2f} s", goal=f"<= {GOAL} s", met=start <= GOAL, note=note)]
