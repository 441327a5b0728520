"""Translation of labelled source images to the look of the target, by diffusion (SGG and PTL, Peng et al., 2023)."""
from .image_diffusion import ImageDiffusion

__all__ = ['ImageDiffusion']
