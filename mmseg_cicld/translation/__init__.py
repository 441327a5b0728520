"""Translation of labelled source images to the look of the target, by diffusion (SGG and PTL, Peng et al., 2023).

What is named here loads when it is asked for, so that programs can expect a ``TranslationError`` without diffusers.
"""
import importlib

_MODULES = dict(
    ImageDiffusion='image_diffusion', SampleGridHook='hooks', SaveAutoencoderHook='hooks', SaveFolderHook='hooks',
    SegmentationGuide='segmentation_guide', SemanticGuidance='guidance', TargetDiffusion='target_diffusion',
    TranslationError='errors', TranslationSettings='reverse_steps', Translator='translator', build_settings='run_settings',
    image_grid='sampling', sample_images='sampling', translate_dataset='dataset_translation')

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """Imports a name of :data:`__all__` from its module."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'.{_MODULES[name]}', __name__), name)
