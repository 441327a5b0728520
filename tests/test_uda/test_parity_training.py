"""Whole training steps against numbers recorded from the published DAFormer/MIC implementation.

The fixtures hold what that implementation computed from weights, images and random choices that a rule fills in, so
every loss, label, gradient norm and updated weight can be compared. float64 is the sharp comparison and takes five
times as long: but for one fixture it runs with ``-m float64`` alone, see CONTRIBUTING.md.
"""
import pytest
from parity_comparison import CASES, Comparison

RUNS = [pytest.param(name, precision, id=f'{name}-{precision}',
                     marks=[pytest.mark.float64] if precision == 'f64' and name != 'B3_daformer_aug' else [])
        for name in CASES for precision in ('f64', 'f32')]


@pytest.mark.parametrize(('name', 'precision'), RUNS)
def test_training_step(name, precision):
    assert len(list(Comparison(name, precision).steps())) >= 2  # each compares what it gives, see parity_comparison.py
