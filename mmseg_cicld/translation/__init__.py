"""Translation of labelled source images to the look of the target, by diffusion (SGG and PTL, Peng et al., 2023)."""
from .dataset_translation import translate_dataset
from .errors import TranslationError
from .guidance import SemanticGuidance
from .image_diffusion import ImageDiffusion
from .reverse_steps import TranslationSettings
from .segmentation_guide import SegmentationGuide
from .settings import build_settings
from .translator import Translator

__all__ = ['ImageDiffusion', 'SegmentationGuide', 'SemanticGuidance', 'TranslationError', 'TranslationSettings',
           'Translator', 'build_settings', 'translate_dataset']
