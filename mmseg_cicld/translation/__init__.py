"""Translation of labelled source images to the look of the target, by diffusion (SGG and PTL, Peng et al., 2023)."""
from ..settings import build_settings
from .dataset_translation import translate_dataset
from .errors import TranslationError
from .guidance import SemanticGuidance
from .hooks import SampleGridHook, SaveAutoencoderHook, SaveFolderHook
from .image_diffusion import ImageDiffusion
from .reverse_steps import TranslationSettings
from .sampling import image_grid, sample_images
from .segmentation_guide import SegmentationGuide
from .target_diffusion import TargetDiffusion
from .translator import Translator

__all__ = ['ImageDiffusion', 'SampleGridHook', 'SaveAutoencoderHook', 'SaveFolderHook', 'SegmentationGuide',
           'SemanticGuidance', 'TargetDiffusion', 'TranslationError', 'TranslationSettings', 'Translator',
           'build_settings', 'image_grid', 'sample_images', 'translate_dataset']
