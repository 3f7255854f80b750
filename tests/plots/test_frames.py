"""Which frames charts take, and that they change none."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from numpy.testing import assert_equal
from polars.testing import assert_frame_equal

from charts import CHARTS, FRAMES, draw, drawing, frame_of
from vbase_py_utils import fit_cross_sections, plots
from vbase_py_utils.demo import FACTORS


@pytest.mark.parametrize("chart", CHARTS)
def test_fits_and_frames_of_every_kind_give_the_same_chart(chart, demo):
    other = {"true_against_estimated": demo.truth, "robust_against_least_squares": demo.plain}
    other = other.get(chart)
    expected = drawing(draw(chart, demo.fits, other))
    lazy = fit_cross_sections(demo.panel.lazy(), FACTORS)
    once = fit_cross_sections(demo.panel.lazy(), FACTORS, sorted_by_period=True)
    frame = frame_of(chart, demo.fits)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    ways = [lazy, once, frame, frame.lazy(), frame.to_arrow(), frame.to_pandas()]
    # The rows of premia and the order of factors in coefficients are those of the frame.
    ways += [] if FRAMES[chart] in ("premia", "coefficients") else [shuffled]
    for way in ways:
        assert_equal(drawing(draw(chart, way, other)), expected)


def test_coefficients_may_be_in_any_order_of_periods(demo):
    frame = demo.fits.coefficients
    expected = drawing(plots.confidence_bands(frame))
    for order in (frame.reverse().sort("factor"), frame.sort("factor", "t_stat")):
        assert_equal(drawing(plots.confidence_bands(order)), expected)


@pytest.mark.parametrize("chart", CHARTS)
def test_keys_of_other_names(chart, demo):
    names = {"period": "month", "asset": "ticker"}
    panel = demo.panel.rename(names)
    fits = fit_cross_sections(panel, FACTORS, period="month", asset="ticker")
    lazy = fit_cross_sections(panel.lazy(), FACTORS, period="month", asset="ticker")
    keys = {"asset": "ticker"} if chart == "robustness_weights" else {}
    keys |= {} if chart == "t_values" else {"period": "month"}
    expected = drawing(draw(chart, demo.fits))
    assert_equal(drawing(draw(chart, frame_of(chart, fits), **keys)), expected)
    own = {} if chart == "t_values" else {"period": "month"}
    for source, options in ((fits, own), (lazy, {})):
        assert_equal(drawing(draw(chart, source, **options)), expected)


@pytest.mark.parametrize("chart", CHARTS)
def test_neither_the_frames_nor_the_settings_change(chart, demo):
    frame = frame_of(chart, demo.fits).reverse()
    before, settings = frame.clone(), dict(mpl.rcParams)
    draw(chart, frame)
    assert_frame_equal(frame, before, check_exact=True)
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("chart", CHARTS)
def test_axes_given_are_drawn_on(chart, demo):
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert draw(chart, demo.fits, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.has_data()
    assert right.has_data()
    new = draw(chart, demo.fits)
    assert len(plt.get_fignums()) == 2
    assert new.figure is not figure


@pytest.mark.parametrize("chart", CHARTS)
def test_axes_of_a_figure_without_a_window(chart, demo):
    ax = mpl.figure.Figure().subplots()
    assert draw(chart, demo.fits, ax=ax) is ax
    assert not plt.get_fignums()
