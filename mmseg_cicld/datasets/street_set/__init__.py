"""The street set: rendered driving scenes in two looks, a small data set for domain adaptation without downloads."""
from .classes import TrainId
from .looks import LOOKS, Layout, Look
from .renderer import render_scene
from .writer import StreetCounts, render_street_set

__all__ = ['LOOKS', 'Layout', 'Look', 'StreetCounts', 'TrainId', 'render_scene', 'render_street_set']
