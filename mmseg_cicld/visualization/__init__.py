"""Pictures of training steps, and the HTML report of a training."""
from .examples import Example, save_examples
from .panel import colorize, compose_panel, step_tiles
from .report_hook import ReportHook
from .report_parts import ImageRow
from .training_record import ReportError
from .training_report import write_training_report
from .visualization_hook import UDAVisualizationHook

__all__ = ['Example', 'ImageRow', 'ReportError', 'ReportHook', 'UDAVisualizationHook', 'colorize', 'compose_panel',
           'save_examples', 'step_tiles', 'write_training_report']
