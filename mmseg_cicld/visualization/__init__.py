"""Pictures of training steps and the HTML report of the quick start."""
from .panel import colorize, compose_panel, step_tiles
from .report import write_report
from .report_parts import ImageRow
from .visualization_hook import UDAVisualizationHook

__all__ = ['ImageRow', 'UDAVisualizationHook', 'colorize', 'compose_panel', 'step_tiles', 'write_report']
