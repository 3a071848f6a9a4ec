"""pass@k against exact counting, and the interval against what an interval must do."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import clustered_interval, pass_at_k


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@given(st.integers(2, 300), st.data())
def test_one_more_right_answer_never_hurts(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n - 1))
    k = data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k)


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 2), (0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 1, 0)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"pass@|cannot be"):
        pass_at_k(n, c, k)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_the_interval_holds_the_mean_and_stays_in_range(means: list[float]) -> None:
    low, high = clustered_interval(means, samples=10 * len(means))
    assert 0.0 <= low <= sum(means) / len(means) + 1e-9
    assert sum(means) / len(means) - 1e-9 <= high <= 1.0


def test_all_wrong_on_few_problems_does_not_mean_zero() -> None:
    low, high = clustered_interval([0.0] * 10, samples=1000)
    assert low == 0.0
    # Clopper and Pearson's upper end for 0 of 10: 1 - 0.025 ** (1 / 10)
    assert high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_one_problem_says_nothing_about_others() -> None:
    assert clustered_interval([0.4], samples=200) == (0.0, 1.0)


def test_independent_single_samples_give_clopper_pearson_nearly() -> None:
    # 30 problems, one sample each, 12 right: scipy.stats.binomtest(12, 30).proportion_ci() is 0.2266 .. 0.5940.
    low, high = clustered_interval([1.0] * 12 + [0.0] * 18, samples=30)
    assert low == pytest.approx(0.2266, abs=0.01)
    assert high == pytest.approx(0.5940, abs=0.01)


def test_more_samples_of_the_same_problems_do_not_narrow_the_interval_of_unlike_problems() -> None:
    few = clustered_interval([1.0] * 5 + [0.0] * 5, samples=10)
    many = clustered_interval([1.0] * 5 + [0.0] * 5, samples=100_000)
    assert many.high - many.low > 0.9 * (few.high - few.low)
