"""How much memory a function takes at its peak, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(frame, function, *columns):
    """Peak memory of a call over the size of its frame, which is included; NaN outside Linux."""
    if not CLEAR.exists():
        return float("nan")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.parquet"
        frame.write_parquet(file)
        command = [sys.executable, __file__, str(file), function, *columns]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident(what):
    """Resident memory in bytes: VmRSS now, VmHWM at its highest."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def main(file, function, *columns):
    import polars as pl

    import vbase_py_utils

    call = getattr(vbase_py_utils, function)

    def run(frame):
        if columns:
            call(frame, columns, weights="weight")
        else:
            call(frame)

    run(pl.read_parquet(file, n_rows=100))  # what is loaded once is not the frame's
    before = resident("VmRSS")
    frame = pl.read_parquet(file)
    CLEAR.write_text("5", encoding="ascii")  # forgets the peak so far
    run(frame)
    print((resident("VmHWM") - before) / frame.estimated_size())


if __name__ == "__main__":
    main(*sys.argv[1:])
