"""Parts of diffusion methods: thin layers over diffusers."""
from .degradations import BlurDegradation, MaskDegradation, MixedDegradation, NoiseDegradation
from .mask_encoder import ClassEmbeddingMaskEncoder, ColourMaskEncoder

__all__ = ['BlurDegradation', 'ClassEmbeddingMaskEncoder', 'ColourMaskEncoder', 'MaskDegradation', 'MixedDegradation',
           'NoiseDegradation']
