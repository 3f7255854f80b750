"""What p-values and the MM estimate are worth, simulated; all cells with `pytest -m slow`."""

from __future__ import annotations

import numpy as np
import pytest
import simulate_errors
from simulate_errors import ATTACKED, CELLS, EXPECTED_ERRORS, RATIOS, size_of

HAS_HC2 = [cell.name for cell in CELLS]
BY_NAME = {cell.name: cell for cell in (*CELLS, *ATTACKED)}
LARGEST, LEAST = 6.5, 2.5
NORMAL_NOISE = [cell.name for cell in CELLS if cell.name[:2] not in ("t3", "10")] + [
    "t3 exposures, normal, k = 5"
]
# Where the estimate itself is drawn to near rows that agree.
DRAWN = "5 % bad rows at 10, t3, k = 5"
IN_CI = [
    ("normal, k = 2", 2),
    ("weights that are no inverse variances, k = 5", 10),
    ("12 sectors and 3 styles: the sectors", 6),
]
EVERY = [
    pytest.param(name, ratio, marks=() if (name, ratio) in IN_CI else pytest.mark.slow)
    for name in BY_NAME
    for ratio in RATIOS
]


@pytest.mark.parametrize(("name", "ratio"), [e for e in EVERY if e.values[0] in HAS_HC2])
def test_hc2_keeps_the_size_of_a_test_at_5_percent(name, ratio):
    size = size_of(BY_NAME[name], "HC2", ratio)
    assert size <= LARGEST
    if ratio >= 6 and name in NORMAL_NOISE:
        assert size >= LEAST


@pytest.mark.parametrize(("name", "ratio"), [e for e in EVERY if e.values[0] != DRAWN])
def test_the_mm_estimate_keeps_it_too(name, ratio):
    assert size_of(BY_NAME[name], "MM", ratio) <= LARGEST


@pytest.mark.parametrize("ratio", [2, 20])
def test_h1_with_wrong_weights_does_not(ratio):
    cell = BY_NAME["weights that are no inverse variances, k = 5"]
    assert size_of(cell, "H1", ratio) > 2 * LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("name", BY_NAME)
def test_sizes_are_those_of_the_prototype(name, ratio):
    # Both are samples: of some 2,000 periods, and of rejections that cluster in periods.
    tests = simulate_errors.PERIODS * (BY_NAME[name].k if name in HAS_HC2 else 1)
    for kind, expected in simulate_errors.EXPECTED[name].items():
        share = expected[RATIOS.index(ratio)] / 100
        sampling = 100 * np.sqrt(2 * max(share, 0.01) / tests)
        sectors = 2.5 if "sectors" in name and kind.startswith("sandwich") else 0.0
        ours = size_of(BY_NAME[name], kind, ratio)
        assert abs(ours - 100 * share) <= 5 * sampling + sectors + 0.1, kind


@pytest.mark.parametrize(
    ("distance", "share", "most"), [(10, 0.2, 0.6), (1000, 0.4, 0.3), (1000, 0.1, 0.3)]
)
def test_a_cluster_of_bad_rows_hardly_moves_the_mm_estimate(distance, share, most):
    assert simulate_errors.worst_error(distance, share, "mm", periods=60) <= most
    assert simulate_errors.worst_error(distance, share, "huber", periods=20) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "share"), EXPECTED_ERRORS)
def test_errors_beside_a_cluster_are_those_of_the_prototype(distance, share):
    for estimator, expected in zip(("huber", "mm"), EXPECTED_ERRORS[distance, share], strict=True):
        ours = simulate_errors.worst_error(distance, share, estimator)
        assert ours == pytest.approx(expected, rel=0.08, abs=0.01), estimator


def test_the_mm_estimate_is_nearly_as_good_as_least_squares_at_the_normal():
    rng = np.random.default_rng(200)
    panel, names, _ = simulate_errors.as_panel(simulate_errors.normal(rng, 500, 200, 6))
    errors = [
        simulate_errors.factor_returns(panel, names, **ways).select(names).to_numpy()
        for ways in ({"huber_t": np.inf}, {"estimator": "mm"})
    ]
    efficiency = (errors[0] ** 2).sum() / (errors[1] ** 2).sum()
    assert 0.93 <= efficiency <= 1.0


def test_the_recipe_prints_its_tables(capsys):
    simulate_errors.main(["--periods", "4"])
    printed = capsys.readouterr().out
    for text in (*BY_NAME, "HC2", "sandwich", "Huber | MM"):
        assert text in printed
    assert printed.count("(") > 100  # with the prototype's figures beside ours
    assert "nan" not in printed
