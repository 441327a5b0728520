"""Rendered pairs of domains that differ in more ways than the street set, to choose and to test defaults on."""
from .pair import Pair
from .writer import PAIRS, PairCounts, render_pair

__all__ = ['PAIRS', 'Pair', 'PairCounts', 'render_pair']
