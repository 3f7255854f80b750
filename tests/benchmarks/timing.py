"""Times of calls in turn, and tables of them."""

from __future__ import annotations

import time
from statistics import median


def time_in_turn(calls, repetitions, clock=time.perf_counter):
    """Times (repetitions) of each of the named calls, after one that is not counted."""
    times = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            begin = clock()
            call()
            if repetition:
                times[name].append(clock() - begin)
    return times


def ratio(times, ours, theirs):
    """Median over the repetitions of our time over theirs."""
    return median(a / b for a, b in zip(times[ours], times[theirs], strict=True))


def table(header, rows):
    """Print a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines), end="\n\n")


def seconds(values):
    return f"{median(values):.3g} s"
