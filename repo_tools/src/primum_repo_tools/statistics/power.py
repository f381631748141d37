"""How probable it is that a comparison shows what is true: closed form, and by simulation.

The closed form takes pairs as independent and the normal approximation as exact; with few
discordant pairs it promises more than Tango's test holds, so a plan rests on the simulation, which
decides each simulated study as the comparison would.  Patients differ by a Dirichlet-multinomial
(J. E. Mosimann, Biometrika 49 (1962) 65-82), whose one parameter is the correlation of cases of one
patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np

from primum_repo_tools.statistics.arrays import Counts, Flags, Floats
from primum_repo_tools.statistics.bootstrap import Draws
from primum_repo_tools.statistics.interval import normal_quantile


def closed_form_pairs(
    *, margin: float, discordant: float, power: float, confidence: float = 0.95
) -> int:
    """Independent pairs for paired non-inferiority, were there no true difference.

    J.-M. Nam, Biometrics 53 (1997) 1422-1430, in its simplest form.

    Args:
        margin: how much may be lost.
        discordant: the share of pairs in which the methods differ.
        power: how often it shall be shown.
        confidence: the two-sided level of the interval.
    """
    z = normal_quantile(confidence) + NormalDist().inv_cdf(power)
    # Rounded first, so that 421.0000000001 does not ask for one more.
    return ceil(round(z * z * discordant / (margin * margin), 6))


def power_each(joint: float, count: int) -> float:
    """The power that each of so many independent questions needs for a joint one."""
    return float(joint ** (1.0 / count))


@dataclass(frozen=True)
class Truth:
    """What is assumed to be true of one paired question.

    Attributes:
        discordant: the share of cases in which the methods differ.
        difference: candidate less baseline; its size is at most ``discordant``.
        correlation: of cases of one patient, 0 or more, below 1.
    """

    discordant: float
    difference: float
    correlation: float

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: shares that are none.
        """
        possible = 0.0 <= self.discordant <= 1.0 and 0.0 <= self.correlation < 1.0
        if not possible or abs(self.difference) > self.discordant:
            raise ValueError(f"{self} cannot be")


@dataclass(frozen=True)
class Studies:
    """Simulated studies of one question.

    Attributes:
        gained: [studies, patients] cases in which only the candidate is right.
        lost: [studies, patients] cases in which only the baseline is right.
        cases: of each patient.
    """

    gained: Counts
    lost: Counts
    cases: int

    def of(self, patients: Flags) -> Studies:
        """The same studies, some of the patients."""
        return Studies(self.gained[:, patients], self.lost[:, patients], self.cases)


def simulate(
    truth: Truth, *, studies: int, patients: int, cases: int, generator: np.random.Generator
) -> Studies:
    """Draw studies.

    Args:
        truth: what is assumed.
        studies: how many.
        patients: in each.
        cases: of each patient.
        generator: seeded by the caller.
    """
    gained = (truth.discordant + truth.difference) / 2.0
    shares = np.array([gained, truth.discordant - gained, 1.0 - truth.discordant])
    size = (studies, patients)
    if truth.correlation > 0.0:
        spread = (1.0 - truth.correlation) / truth.correlation
        drawn = generator.standard_gamma(np.maximum(spread * shares, 1e-12), size=(*size, 3))
        total = drawn.sum(axis=2, keepdims=True)
        chances = np.where(total > 0.0, drawn / np.where(total > 0.0, total, 1.0), shares)
        counts = generator.multinomial(cases, chances)
    else:
        counts = generator.multinomial(cases, shares, size=size)
    return Studies(counts[..., 0], counts[..., 1], cases)


def tango_scores(delta: float, gained: Counts, lost: Counts, n: int) -> Floats:
    """Tango's score statistic of many tables at once; see :mod:`.tango`."""
    a = 2.0 * n
    b = -gained - lost + (2.0 * n - gained + lost) * delta
    c = -lost * delta * (1.0 - delta)
    q = (np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0)) - b) / (2.0 * a)
    variance = n * (2.0 * q + delta * (1.0 - delta))
    distance = gained - lost - n * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        scores: Floats = distance / np.sqrt(np.maximum(variance, 0.0))
    surely = np.where(distance > 0.0, np.inf, np.where(distance < 0.0, -np.inf, 0.0))
    return np.where(variance > 0.0, scores, surely)


def shown_by_tango(found: Studies, *, margin: float, confidence: float = 0.95) -> Flags:
    """Which studies show non-inferiority when cases are taken as independent; [studies]."""
    gained, lost = found.gained.sum(axis=1), found.lost.sum(axis=1)
    n = found.cases * found.gained.shape[1]
    shown: Flags = tango_scores(-margin, gained, lost, n) > normal_quantile(confidence)
    return shown


def shown_by_patients(found: Studies, *, margin: float, draws: Draws) -> Flags:
    """Which studies show it by the cluster bootstrap, never surer than Tango; [studies].

    The same patients are drawn for each study, as a protocol's seed does.

    Args:
        found: the studies.
        margin: how much may be lost.
        draws: how patients are drawn; its percentiles are read.
    """
    patients = found.gained.shape[1]
    net = (found.gained - found.lost).astype(np.float64).T
    drawn = np.concatenate(
        [weights @ net / (found.cases * patients) for weights in draws.weights(patients)]
    )
    low = np.quantile(drawn, (1.0 - draws.confidence) / 2.0, axis=0)
    surely: Flags = low > -margin
    return surely & shown_by_tango(found, margin=margin, confidence=draws.confidence)
