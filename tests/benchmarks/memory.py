"""How much memory `factor_returns` takes at its peak, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(panel):
    """Peak memory over the size of the panel, the panel itself included; NaN outside Linux."""
    if not CLEAR.exists():
        return float("nan")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "panel.parquet"
        panel.frame.write_parquet(file)
        command = [sys.executable, __file__, str(file), *panel.exposures]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident(what):
    """Resident memory in bytes: VmRSS now, VmHWM at its highest."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def main(file, *exposures):
    import polars as pl

    from vbase_py_utils import factor_returns

    def run(panel):
        factor_returns(panel, exposures, weights="weight")

    run(pl.read_parquet(file, n_rows=100))  # what is loaded once is not the panel's
    before = resident("VmRSS")
    panel = pl.read_parquet(file)
    CLEAR.write_text("5", encoding="ascii")  # forgets the peak so far
    run(panel)
    print((resident("VmHWM") - before) / panel.estimated_size())


if __name__ == "__main__":
    main(*sys.argv[1:])
