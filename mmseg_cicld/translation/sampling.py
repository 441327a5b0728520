"""Images out of noise, to look at what a diffusion model has learned.

Shape suffixes: B images, H and W height and width, C channels, h and w of latents.
"""
import torch
from torch import Tensor

from ..models.diffusion.sampling import ReverseProcess
from ..random_streams import KeyedStreams
from .image_diffusion import ImageDiffusion


@torch.no_grad()
def sample_images(diffusion: ImageDiffusion, count: int, size: tuple[int, int], steps: int, seed: int = 0) -> Tensor:
    """Draws images from noise alone.

    Args:
        diffusion: The model, in evaluation mode.
        count: Number of images; each has its own noise, so that more images leave the first ones as they are.
        size: Their height and width in pixels.
        steps: Steps of the reverse process, at least 1.
        seed: What the noise is drawn from.

    Returns:
        RGB in [-1, 1], [count, 3, H, W].
    """
    diffusion.check_size(*size, remedy='sample images of another size')
    parameter = next(diffusion.unet.parameters())
    shape_Chw = (diffusion.unet.config.in_channels, *(side // diffusion.stride for side in size))
    streams, scheduler = KeyedStreams(seed), diffusion.scheduler()
    noise_BChw = torch.stack([torch.randn(shape_Chw, generator=streams.torch('sample', index))
                              for index in range(count)]).to(parameter)
    process = ReverseProcess(scheduler, steps, scheduler.config.num_train_timesteps - 1)

    def predict(noisy_BChw: Tensor, times_B: Tensor) -> Tensor:
        return diffusion.unet(noisy_BChw, times_B).sample

    *_, latent_BChw = process.latents(predict, torch.zeros_like(noise_BChw), noise_BChw, seed)
    return diffusion.decode(latent_BChw).clamp(-1, 1)


def image_grid(images_B3HW: Tensor, columns: int) -> Tensor:
    """Puts images side by side, row by row.

    Args:
        images_B3HW: RGB in [-1, 1]; a last row that is not full is filled with black.
        columns: Images in a row.

    Returns:
        RGB uint8 [rows * H, columns * W, 3].
    """
    missing = -len(images_B3HW) % columns
    images_B3HW = torch.cat([images_B3HW, images_B3HW.new_full((missing, *images_B3HW.shape[1:]), -1)])
    rows = [torch.cat(list(row), dim=2) for row in images_B3HW.split(columns)]
    return ((torch.cat(rows, dim=1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu()
