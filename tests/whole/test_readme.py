"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vbase_py_utils import __all__ as public_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
NAMES = ["lazy", "pandas", "notebook"]


def test_there_is_an_example_for_each_way_in():
    assert len(EXAMPLES) == len(NAMES)


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_example_runs_and_prints_what_it_says(example, tmp_path, monkeypatch, capsys):
    import matplotlib as mpl

    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    promised = [line[2:] for line in example.splitlines() if line.startswith("# ")]
    assert promised
    assert printed == promised


def test_commands_are_those_of_ci():
    command = "python3 -m venv .venv && .venv/bin/pip install -q uv && .venv/bin/uv run just test"
    assert command in README
    assert command.replace("just test", "just demo") in README
    assert ".venv/bin/uv run just test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_public_name_is_in_the_readme():
    assert [name for name in public_names if name not in README] == []


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_picture_is_what_the_code_draws(tmp_path):
    from matplotlib.testing.compare import compare_images
    from PIL import Image

    script, committed = (ROOT / "notebooks" / f"picture.{suffix}" for suffix in ("py", "png"))
    drawn = tmp_path / "picture.png"
    command = [sys.executable, "-W", "error", script, drawn]
    subprocess.run(command, check=True)
    assert committed.stat().st_size < 250_000
    with Image.open(committed) as theirs, Image.open(drawn) as ours:
        assert theirs.size == ours.size
        same_version = theirs.text["Software"] == ours.text["Software"]
    # Another version of matplotlib sets letters, and with them everything, some pixels apart.
    if same_version:
        assert compare_images(str(committed), str(drawn), tol=1) is None
