"""Pictures of training steps and the HTML report of the quick start."""
from .panel import colorize, compose_panel, step_tiles
from .report import ImageRow, write_report
from .visualization_hook import UDAVisualizationHook

__all__ = ['ImageRow', 'UDAVisualizationHook', 'colorize', 'compose_panel', 'step_tiles', 'write_report']
