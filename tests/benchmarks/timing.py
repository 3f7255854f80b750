"""Times of calls in turn, tables of them, and what they were measured on."""

from __future__ import annotations

import platform
import random
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Took(NamedTuple):
    """Seconds of one call: by the clock, and of all threads of the process together."""

    wall: float
    cpu: float


def time_in_turn(calls, repetitions):
    """Times (repetitions) of each of the named calls, after one that is not counted.

    In an order of its own each time: what a call finds in caches and in memory that the process
    still holds depends on the call before it.
    """
    times = {name: [] for name in calls}
    shuffle = random.Random(20261129).shuffle
    for repetition in range(repetitions + 1):
        order = list(calls)
        shuffle(order)
        for name in order:
            begin = time.perf_counter(), time.process_time()
            calls[name]()
            if repetition:
                took = Took(time.perf_counter() - begin[0], time.process_time() - begin[1])
                times[name].append(took)
    return times


def ratio(times, ours, theirs):
    """Median over the repetitions of our CPU time over theirs."""
    return median(a.cpu / b.cpu for a, b in zip(times[ours], times[theirs], strict=True))


def table(header, rows):
    """Print a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines), end="\n\n")


def wall(times):
    """Median seconds by the clock."""
    return f"{median(took.wall for took in times):.3g} s"


def cpu(times):
    """Median CPU seconds."""
    return f"{median(took.cpu for took in times):.3g} s"


def processor():
    """Name of the processor, without what its maker registered."""
    text = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        text = next((line.split(":")[1] for line in lines if line.startswith("model name")), text)
    return " ".join(text.replace("(R)", "").replace("(TM)", "").split())
