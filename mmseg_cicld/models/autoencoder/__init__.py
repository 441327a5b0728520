"""The autoencoder of images whose latent space diffusion works in."""
from .pretraining import AutoencoderPretraining

__all__ = ['AutoencoderPretraining']
