"""How far each statistic lies from published values and from what other packages compute.

``python -m tests.benchmarks.references`` prints the largest deviation of each; the tests hold each
against what is allowed.  scipy is at hand; ``make references`` adds statsmodels and scikit-learn.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import comb, inf, sqrt
from typing import Any

import numpy as np
from scipy import stats
from tests.benchmarks.figures import arguments, keep

from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.beta import beta_below, beta_quantile
from primum_repo_tools.statistics.bootstrap import (
    ClusterCounts,
    Draws,
    Method,
    cluster_interval,
)
from primum_repo_tools.statistics.calibration import (
    brier_parts,
    recalibrate,
    reliability_table,
)
from primum_repo_tools.statistics.clopper_pearson import (
    cases_without_failure,
    clopper_pearson_interval,
)
from primum_repo_tools.statistics.clustered import obuchowski_difference, rao_scott_interval
from primum_repo_tools.statistics.delong import auc_with_interval, paired_auc_difference
from primum_repo_tools.statistics.exact_unconditional import exact_noninferiority
from primum_repo_tools.statistics.mcnemar import mcnemar_test
from primum_repo_tools.statistics.multiplicity import benjamini_hochberg, holm
from primum_repo_tools.statistics.net_benefit import net_benefit
from primum_repo_tools.statistics.quantiles import bounded_quantile, hodges_lehmann
from primum_repo_tools.statistics.repeatability import repeatability_of
from primum_repo_tools.statistics.roc import area, partial_area, roc_curves, sensitivity_at
from primum_repo_tools.statistics.tango import tango_interval
from primum_repo_tools.statistics.wilson import wilson_interval

EXACT = 1e-9
"""Where both compute the same formula; what is left is rounding."""


@dataclass(frozen=True)
class Reference:
    """One statistic beside one source.

    Attributes:
        method: which statistic.
        source: a paper, ``definition``, or the package that computes it.
        found: our values and those of the source.
        allowed: how far they may lie apart; of a printed value, half of its last digit.
    """

    method: str
    source: str
    found: Callable[[], Iterator[tuple[float, float]]]
    allowed: float = EXACT

    @property
    def needs(self) -> str | None:
        """The package that may be missing."""
        name = {"scikit-learn": "sklearn", "statsmodels": "statsmodels"}.get(self.source)
        return name if name and find_spec(name) is None else None

    def deviation(self) -> float:
        """The largest distance between ours and theirs."""
        with warnings.catch_warnings():
            # What another package warns its own users of is not ours to answer.
            warnings.simplefilter("ignore")
            return max((abs(ours - theirs) for ours, theirs in self.found()), default=inf)


def scored(seed: int, n: int = 400, *, digits: int | None = None) -> tuple[Flags, Floats, Counts]:
    """Labels, probabilities and patients of cases that were drawn."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    scores = 1.0 / (1.0 + np.exp(-(rng.normal(size=n) + 2.0 * labels - 1.0)))
    if digits is not None:
        scores = np.round(scores, digits)
    return labels, scores, rng.integers(0, 25, n)


def clusters(seed: int, patients: int = 40) -> ClusterCounts:
    """Counts of patients that differ."""
    rng = np.random.default_rng(seed)
    cases = rng.integers(5, 40, patients)
    gained = rng.binomial(cases, rng.beta(1, 15, patients))
    return ClusterCounts(cases, gained, rng.binomial(cases - gained, rng.beta(1, 25, patients)))


def by_case(counts: ClusterCounts) -> tuple[Floats, Counts]:
    """The difference of each case, and its patient."""
    rows = zip(counts.cases, counts.gained, counts.lost, strict=True)
    difference = [
        np.repeat([1.0, -1.0, 0.0], [gained, lost, cases - gained - lost])
        for cases, gained, lost in rows
    ]
    return np.concatenate(difference), np.repeat(np.arange(len(counts.cases)), counts.cases)


# ---------------------------------------------------------------------------------- published


def _tango() -> Iterator[tuple[float, float]]:
    for counts, low, high in (((0, 0, 44), -0.0803, 0.0803), ((86, 150, 1600), -0.0590, -0.0214)):
        found = tango_interval(*counts)
        yield found.low, low
        yield found.high, high


def _tango_fagerland() -> Iterator[tuple[float, float]]:
    # Airway hyper-responsiveness before and after stem cell transplantation: 1 and 7 of 21.
    found = tango_interval(1, 7, 21)
    yield found.low, -0.517
    yield found.high, -0.026


def _mcnemar_fagerland() -> Iterator[tuple[float, float]]:
    for counts, exact, mid_p in (((1, 7), 0.0703, 0.0391), ((6, 16), 0.0525, 0.0347)):
        found = mcnemar_test(*counts)
        yield found.exact, exact
        yield found.mid_p, mid_p


def _wilson_newcombe() -> Iterator[tuple[float, float]]:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I.
    for counts, low, high in (
        ((81, 263), 0.2553, 0.3662), ((15, 148), 0.0624, 0.1605), ((0, 20), 0.0, 0.1611),
        ((1, 29), 0.0061, 0.1718),
    ):  # fmt: skip
        found = wilson_interval(*counts)
        yield found.low, low
        yield found.high, high


def _clopper_newcombe() -> Iterator[tuple[float, float]]:
    for counts, low, high in (
        ((81, 263), 0.2527, 0.3676), ((15, 148), 0.0578, 0.1617), ((0, 20), 0.0, 0.1684),
        ((1, 29), 0.0009, 0.1776),
    ):  # fmt: skip
        found = clopper_pearson_interval(*counts)
        yield found.low, low
        yield found.high, high


def _no_failures() -> Iterator[tuple[float, float]]:
    for share, cases in ((0.90, 29), (0.95, 59), (0.99, 299)):
        yield cases_without_failure(share), cases


def _wilks() -> Iterator[tuple[float, float]]:
    """S. S. Wilks (1941): with 59 values the largest bounds a P95, with 58 none does."""
    for quantile, needed in ((0.90, 29), (0.95, 59), (0.99, 299)):
        values = np.arange(float(needed))
        yield bounded_quantile(values, quantile).upper or -1.0, needed - 1.0
        yield float(bounded_quantile(values[1:], quantile).upper is None), 1.0


PEAK_FLOW = np.array([
    [190, 220, 200, 200], [220, 200, 240, 230], [260, 260, 240, 280], [210, 300, 280, 265],
    [270, 265, 280, 270], [280, 280, 270, 275], [260, 280, 280, 300], [275, 275, 275, 305],
    [280, 290, 300, 290], [320, 290, 300, 290], [300, 300, 310, 300], [270, 250, 330, 370],
    [320, 330, 330, 330], [335, 320, 335, 375], [350, 320, 340, 365], [360, 320, 350, 345],
    [330, 340, 380, 390], [335, 385, 360, 370], [400, 420, 425, 420], [430, 460, 480, 470],
], dtype=np.float64)  # fmt: skip
"""Peak expiratory flow of 20 schoolchildren, litres a minute (Bland and Altman 1996, table 1)."""


def _bland_altman() -> Iterator[tuple[float, float]]:
    yield repeatability_of(PEAK_FLOW).within ** 2, 460.52


HOCHBERG = np.array([
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
    0.5719, 0.6528, 0.7590, 1.0,
])  # fmt: skip
"""Myocardial infarction trial (Benjamini and Hochberg 1995, section 4): 4 stand, by Holm 3."""


def _benjamini() -> Iterator[tuple[float, float]]:
    yield float((benjamini_hochberg(HOCHBERG) <= 0.05).sum()), 4.0
    yield float((holm(HOCHBERG) <= 0.05).sum()), 3.0


# --------------------------------------------------------------------------------- definitions


def _delong_definition() -> Iterator[tuple[float, float]]:
    for seed in range(3):
        labels, scores, _ = scored(seed, 90, digits=1)
        psi = _psi(labels, scores)
        expected = psi.mean(axis=1).var(ddof=1) / psi.shape[0]
        expected += psi.mean(axis=0).var(ddof=1) / psi.shape[1]
        found = auc_with_interval(labels, scores)[0]
        yield found.area, psi.mean()
        yield found.variance, expected


def _psi(labels: Flags, scores: Floats) -> Floats:
    x, y = scores[labels], scores[~labels]
    found: Floats = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return found


def _paired_delong_definition() -> Iterator[tuple[float, float]]:
    labels, first, _ = scored(7, 90)
    second = scored(8, 90)[1]
    one, two = _psi(labels, first), _psi(labels, second)
    of_x, of_y = (np.cov(one.mean(axis=a), two.mean(axis=a)) for a in (1, 0))
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (of_x / one.shape[0] + of_y / one.shape[1]) @ contrast
    found = paired_auc_difference(labels, first, second)
    yield (found.high - found.low) / 2.0, stats.norm.ppf(0.975) * sqrt(variance)
    # A patient for each case is no clustering.
    alone = paired_auc_difference(labels, first, second, patient=np.arange(90))
    yield (alone.high - alone.low) / 2.0, stats.norm.ppf(0.975) * sqrt(variance)


def _unconditional_definition() -> Iterator[tuple[float, float]]:
    """Every table written out, without logarithms, over a finer grid around the same points."""
    gained, lost, n, margin = 1, 2, 12, 0.25
    found = exact_noninferiority(gained, lost, n, margin=margin)
    from primum_repo_tools.statistics.tango import tango_score

    observed = tango_score(-margin, gained, lost, n)
    worst = 0.0
    for share in np.linspace(margin, (1 + margin) / 2, 400):
        total = 0.0
        for b in range(n + 1):
            for c in range(n + 1 - b):
                if tango_score(-margin, b, c, n) >= observed - 1e-9:
                    ways = comb(n, b) * comb(n - b, c)
                    rest = max(0.0, 1 - 2 * share + margin)
                    total += ways * (share - margin) ** b * share**c * rest ** (n - b - c)
        worst = max(worst, total)
    yield found, min(1.0, worst)


def _brier_identity() -> Iterator[tuple[float, float]]:
    for seed in range(4):
        labels, scores, _ = scored(seed, digits=1)
        # One bin for each value: nothing varies inside, and Murphy's parts are the whole.
        parts = brier_parts(labels, scores, bins=400)
        yield parts.within_bins, 0.0
        yield parts.reliability - parts.resolution + parts.uncertainty, parts.score


def _net_benefit_identity() -> Iterator[tuple[float, float]]:
    """At a threshold of one half a false alarm costs what a true one brings."""
    one = np.array([30.0])
    yield float(net_benefit(one, one, one * 10, at=0.5)[0]), 0.0
    # Treating everybody: prevalence less the odds of the rest.
    yield float(net_benefit(np.array([20.0]), np.array([80.0]), np.array([100.0]), at=0.2)[0]), 0.0


def _walsh() -> Iterator[tuple[float, float]]:
    values = np.random.default_rng(1).normal(size=31)
    means = [(a + b) / 2 for i, a in enumerate(values) for b in values[i:]]
    yield hodges_lehmann(values), float(np.median(means))


# ----------------------------------------------------------------------------------- packages


def _beta_scipy() -> Iterator[tuple[float, float]]:
    for a, b in ((0.5, 0.5), (1, 30), (12, 5000), (900, 30), (40_000, 3), (1500, 1500)):
        for x in (1e-6, 0.01, 0.3, 0.5, 0.97, 0.999):
            yield beta_below(x, a, b), stats.beta.cdf(x, a, b)
        for p in (0.001, 0.025, 0.5, 0.975):
            yield beta_quantile(p, a, b), stats.beta.ppf(p, a, b)


COUNTED = ((0, 5), (5, 5), (1, 29), (81, 263), (37, 38), (4990, 5000), (2, 10_000))


def _wilson_scipy() -> Iterator[tuple[float, float]]:
    for k, n in COUNTED:
        found, theirs = wilson_interval(k, n), stats.binomtest(k, n).proportion_ci(method="wilson")
        yield from ((found.low, theirs.low), (found.high, theirs.high))


def _clopper_scipy() -> Iterator[tuple[float, float]]:
    for k, n in COUNTED:
        found = clopper_pearson_interval(k, n)
        theirs = stats.binomtest(k, n).proportion_ci(method="exact")
        yield from ((found.low, theirs.low), (found.high, theirs.high))


def _mcnemar_scipy() -> Iterator[tuple[float, float]]:
    for b, c in ((1, 7), (6, 16), (0, 5), (9, 9), (150, 86), (1200, 1300)):
        yield mcnemar_test(b, c).exact, stats.binomtest(b, b + c, 0.5).pvalue


def _area_scipy() -> Iterator[tuple[float, float]]:
    for seed in range(4):
        labels, scores, _ = scored(seed, digits=1 if seed % 2 else None)
        u = stats.mannwhitneyu(scores[labels], scores[~labels]).statistic
        expected = u / (labels.sum() * (~labels).sum())
        yield auc_with_interval(labels, scores)[0].area, expected
        yield float(area(roc_curves(labels, scores, np.ones((1, len(labels)))))[0]), expected


def _bca_scipy() -> Iterator[tuple[float, float]]:
    """The corrections of BCa, not its draws: the same draws go through both."""
    values = np.random.default_rng(3).exponential(size=25)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(5)
    )
    found = cluster_interval(
        np.column_stack([values, np.ones(25)]),
        lambda sums: sums[:, 0] / sums[:, 1],
        Draws(seed=5, replicates=20_000, method=Method.BCA),
    )
    assert found is not None
    yield found.low, theirs.confidence_interval.low
    yield found.high, theirs.confidence_interval.high


def _quantile_scipy() -> Iterator[tuple[float, float]]:
    for seed, n in ((1, 60), (2, 400), (3, 1000)):
        values = np.random.default_rng(seed).exponential(size=n)
        for quantile in (0.5, 0.9, 0.95):
            theirs = stats.quantile_test(values, q=0, p=quantile, alternative="less")
            found = bounded_quantile(values, quantile).upper
            yield inf if found is None else found, theirs.confidence_interval(0.95).high


def _multiplicity_scipy() -> Iterator[tuple[float, float]]:
    yield from zip(
        benjamini_hochberg(HOCHBERG), stats.false_discovery_control(HOCHBERG), strict=True
    )


def _proportion_statsmodels() -> Iterator[tuple[float, float]]:
    from statsmodels.stats.proportion import proportion_confint

    for k, n in COUNTED:
        for ours, name in ((wilson_interval, "wilson"), (clopper_pearson_interval, "beta")):
            found, theirs = ours(k, n), proportion_confint(k, n, method=name)
            yield from zip((found.low, found.high), theirs, strict=True)


def _mcnemar_statsmodels() -> Iterator[tuple[float, float]]:
    from statsmodels.stats.contingency_tables import mcnemar

    for b, c in ((1, 7), (6, 16), (0, 5), (150, 86)):
        yield mcnemar_test(b, c).exact, mcnemar([[50, b], [c, 50]], exact=True).pvalue


def _clustered_statsmodels() -> Iterator[tuple[float, float]]:
    import statsmodels.api as sm

    for seed in range(3):
        counts = clusters(seed)
        difference, patient = by_case(counts)
        fitted = sm.OLS(difference, np.ones_like(difference)).fit(
            cov_type="cluster", cov_kwds={"groups": patient}
        )
        found = obuchowski_difference(counts).interval
        yield from zip((found.low, found.high), fitted.conf_int()[0], strict=True)


def _design_effect_statsmodels() -> Iterator[tuple[float, float]]:
    import statsmodels.api as sm

    for seed in range(3):
        counts = clusters(seed)
        right = (by_case(counts)[0] == 0).astype(np.float64)
        patient = by_case(counts)[1]
        fitted = sm.OLS(right, np.ones_like(right)).fit(
            cov_type="cluster", cov_kwds={"groups": patient}
        )
        successes = counts.cases - counts.gained - counts.lost
        share = right.mean()
        expected = float(fitted.cov_params()[0, 0]) / (share * (1 - share) / len(right))
        yield rao_scott_interval(successes, counts.cases).design_effect, max(1.0, expected)


def _calibration_statsmodels() -> Iterator[tuple[float, float]]:
    import statsmodels.api as sm

    for seed in range(3):
        labels, scores, patient = scored(seed)
        logit = np.log(scores / (1 - scores))
        found = recalibrate(labels, scores, patient)
        assert found is not None
        shape = {"cov_type": "cluster", "cov_kwds": {"groups": patient}}
        binomial = sm.families.Binomial()
        both = sm.GLM(labels, sm.add_constant(logit), family=binomial).fit(**shape, tol=1e-12)
        large = sm.GLM(labels, np.ones_like(logit), family=binomial, offset=logit).fit(
            **shape, tol=1e-12
        )
        # statsmodels also multiplies by (n - 1) / (n - k): for sums of cases, not of patients.
        n = len(labels)
        for interval, fit, place, k in (
            (found.slope, both, 1, 2), (found.in_the_large, large, 0, 1),
        ):  # fmt: skip
            yield interval.estimate, fit.params[place]
            half = (interval.high - interval.low) / 2
            error = sqrt(fit.cov_params()[place, place] * (n - k) / (n - 1))
            yield half, stats.norm.ppf(0.975) * error


def _multiplicity_statsmodels() -> Iterator[tuple[float, float]]:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(2).beta(1, 6, 40)
    yield from zip(holm(p), multipletests(p, method="holm")[1], strict=True)
    yield from zip(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], strict=True)


def _roc_sklearn() -> Iterator[tuple[float, float]]:
    from sklearn.metrics import roc_auc_score, roc_curve

    for seed in range(4):
        labels, scores, _ = scored(seed, digits=2 if seed % 2 else None)
        curves = roc_curves(labels, scores, np.ones((1, len(labels))))
        yield float(area(curves)[0]), roc_auc_score(labels, scores)
        for most in (0.05, 0.1, 0.3, 1.0):
            expected = roc_auc_score(labels, scores, max_fpr=most)
            yield float(partial_area(most)(curves)[0]), expected
        false_positive, true_positive, _ = roc_curve(labels, scores, drop_intermediate=False)
        for specificity in (0.8, 0.9, 0.95):
            best = true_positive[false_positive <= 1 - specificity + 1e-12].max()
            yield float(sensitivity_at(specificity)(curves)[0]), best


def _weighted_roc_sklearn() -> Iterator[tuple[float, float]]:
    from sklearn.metrics import roc_auc_score

    labels, scores, patient = scored(9, digits=1)
    for weights in next(Draws(seed=1, replicates=40).weights(25)):
        found = area(roc_curves(labels, scores, weights[None, patient]))
        yield float(found[0]), roc_auc_score(labels, scores, sample_weight=weights[patient])


def _brier_sklearn() -> Iterator[tuple[float, float]]:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    for seed in range(3):
        labels, scores, _ = scored(seed)
        yield brier_parts(labels, scores).score, brier_score_loss(labels, scores)
        table = reliability_table(labels, scores)
        shares, means = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
        for one, share, mean in zip(table, shares, means, strict=True):
            yield one.observed / one.cases, share
            yield one.predicted, mean


REFERENCES = (
    Reference("Tango interval", "Tango 1998", _tango, 6e-5),
    Reference("Tango interval", "Fagerland 2014", _tango_fagerland, 6e-4),
    Reference("McNemar, exact and mid-p", "Fagerland 2013", _mcnemar_fagerland, 6e-5),
    Reference("Wilson interval", "Newcombe 1998", _wilson_newcombe, 6e-5),
    Reference("Clopper-Pearson interval", "Newcombe 1998", _clopper_newcombe, 6e-5),
    Reference("zero failures", "clinical planning table", _no_failures, 0.0),
    Reference("upper bound of a quantile", "Wilks 1941", _wilks, 0.0),
    Reference("variance within subjects", "Bland and Altman 1996", _bland_altman, 6e-3),
    Reference("Holm, Benjamini-Hochberg", "Benjamini and Hochberg 1995", _benjamini, 0.0),
    Reference("DeLong area and variance", "definition", _delong_definition),
    Reference("DeLong paired, alone and by patient", "definition", _paired_delong_definition),
    Reference("exact unconditional test", "definition", _unconditional_definition),
    Reference("Brier parts", "definition", _brier_identity),
    Reference("net benefit", "definition", _net_benefit_identity),
    Reference("Hodges-Lehmann", "definition", _walsh),
    Reference("beta distribution", "scipy", _beta_scipy),
    Reference("Wilson interval", "scipy", _wilson_scipy),
    Reference("Clopper-Pearson interval", "scipy", _clopper_scipy),
    Reference("McNemar, exact", "scipy", _mcnemar_scipy),
    Reference("area", "scipy", _area_scipy),
    Reference("BCa interval", "scipy", _bca_scipy),
    Reference("upper bound of a quantile", "scipy", _quantile_scipy),
    Reference("Benjamini-Hochberg", "scipy", _multiplicity_scipy),
    Reference("Wilson, Clopper-Pearson", "statsmodels", _proportion_statsmodels),
    Reference("McNemar, exact", "statsmodels", _mcnemar_statsmodels),
    Reference("Obuchowski difference", "statsmodels", _clustered_statsmodels),
    Reference("Rao-Scott design effect", "statsmodels", _design_effect_statsmodels),
    Reference("calibration slope, in the large", "statsmodels", _calibration_statsmodels, 1e-7),
    Reference("Holm, Benjamini-Hochberg", "statsmodels", _multiplicity_statsmodels),
    Reference("area, partial area, sensitivity at", "scikit-learn", _roc_sklearn),
    Reference("area under weights of patients", "scikit-learn", _weighted_roc_sklearn),
    Reference("Brier, reliability table", "scikit-learn", _brier_sklearn),
)


def main(words: Sequence[str] | None = None) -> int:
    """Print every deviation; 1 where one is larger than allowed."""
    options = arguments(__doc__).parse_args(words)
    told: dict[str, Any] = {}
    print(f"{'method':38} {'source':28} {'largest deviation':>18} {'allowed':>9}")
    worst = 0
    for one in REFERENCES:
        if one.needs:
            print(f"{one.method:38} {one.source:28} {'not installed':>18} {one.allowed:9.0e}")
            continue
        found = one.deviation()
        told[f"{one.method}, {one.source}"] = {"deviation": found, "allowed": one.allowed}
        mark = "" if found <= one.allowed else "  TOO FAR"
        worst |= bool(mark)
        print(f"{one.method:38} {one.source:28} {found:18.2e} {one.allowed:9.0e}{mark}")
    keep(told, options.json)
    return worst


if __name__ == "__main__":
    sys.exit(main())
