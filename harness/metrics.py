"""pass@k and its interval. Pure functions of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k of n samples, drawn without replacement, include one of the c right ones.

    Unbiased estimator of Chen et al. 2021 (arXiv:2107.03374), eq. 1. Raises ValueError when k > n, or c is not in 0..n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples, there are {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} right samples of {n} cannot be")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


class Interval(NamedTuple):
    """A two-sided confidence interval, both ends in 0..1."""

    low: float
    high: float


def clustered_interval(problem_means: Sequence[float], samples: int, confidence: float = 0.95) -> Interval:
    """Interval for the mean of `problem_means` (each in 0..1), where problems, not samples, are what was drawn.

    Korn and Graubard (Survey Methodology 24, 1998): an exact binomial (Clopper-Pearson) interval at the effective sample
    size, the size at which independent trials would vary as much as the problems' means do, scaled by the squared ratio of
    Student's t at both sizes. With no variation between problems (all right, all wrong), the effective size is the number of
    problems: samples of one problem say little about the next. `samples` is the number of samples in all, which the
    effective size never exceeds. Raises ValueError without problems.
    """
    from scipy.special import betaincinv, stdtrit  # the quantiles of beta and t; scipy.stats takes ten times as long to import

    problems = len(problem_means)
    if problems == 0:
        raise ValueError("an interval needs at least one problem")
    tail = (1 - confidence) / 2
    if problems == 1:
        return Interval(0.0, 1.0)  # one problem says nothing about the spread between problems
    mean = float(np.mean(problem_means))
    variance_of_mean = float(np.var(problem_means, ddof=1)) / problems
    if variance_of_mean == 0.0:
        effective = float(problems)
    else:
        trials = min(mean * (1 - mean) / variance_of_mean, float(samples))
        scale = stdtrit(max(samples - 1, 1), 1 - tail) / stdtrit(problems - 1, 1 - tail)
        effective = trials * float(scale) ** 2
    right = mean * effective
    wrong = effective - right
    low = 0.0 if right <= 0 else float(betaincinv(right, wrong + 1, tail))
    high = 1.0 if wrong <= 0 else float(betaincinv(right + 1, wrong, 1 - tail))
    return Interval(low, high)
