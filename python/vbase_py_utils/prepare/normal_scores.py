"""Normal quantiles of ranks, as a Polars expression."""

from __future__ import annotations

from functools import reduce

import polars as pl

# Wichura's PPND16, highest power first: numerator and denominator in the centre and in the tails.
# His far tail, p < 1.4e-11, would need 3.6e10 rows in a group, more than Polars can count.
CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)


def normal_scores(rank: pl.Expr) -> pl.Expr:
    """Take normal quantiles of (rank - 1/2) / n; whole numbers keep the scores symmetric."""
    n = rank.count().cast(pl.Float64)
    twice = 2 * rank - 1 - n
    q = twice / (2 * n)
    r = (-((n - twice.abs()) / (2 * n)).log()).sqrt() - 1.6
    centre = q * _ratio(CENTRE, 0.180625 - q * q)
    tail = q.sign() * _ratio(TAIL, r)
    scores = pl.when(q.abs() <= 0.425).then(centre).otherwise(tail)
    return pl.when(rank.min() < rank.max()).then(scores)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: pl.Expr) -> pl.Expr:
    """Evaluate a ratio of two polynomials by Horner's rule."""
    above, below = (
        reduce(lambda value, c: value * x + c, rest, pl.lit(first)) for first, *rest in coefficients
    )
    return above / below
