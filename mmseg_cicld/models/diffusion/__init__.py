"""Parts of diffusion methods: thin layers over diffusers."""
from .degradations import BlurDegradation, MaskDegradation, MixedDegradation, NoiseDegradation

__all__ = ['BlurDegradation', 'MaskDegradation', 'MixedDegradation', 'NoiseDegradation']
