"""From radiance to picture: haze, colour response, lens and sensor."""
import cv2
import numpy as np

from .lighting import Lighting


def add_haze(color: np.ndarray, depth: np.ndarray, light: Lighting) -> np.ndarray:
    """Mixes the colour of the horizon in by distance (Koschmieder's law); the sky stays.

    Args:
        color: uint8 [H, W, 3].
        depth: float32 [H, W], metres, 0 for the sky.
        light: Conditions of the image.

    Returns:
        float32 [H, W, 3].
    """
    seen = np.exp(np.float32(-light.haze) * depth)[..., None]
    return (color - light.horizon) * seen + light.horizon


def expose(image: np.ndarray, light: Lighting, rng: np.random.Generator) -> np.ndarray:
    """Applies the camera of a look.

    Args:
        image: float32 [H, W, 3] at output size, BGR in [0, 255].
        light: Conditions of the image; its look holds the ranges.
        rng: Source of the camera's variation and noise.

    Returns:
        uint8 [H, W, 3].
    """
    look, (height, width) = light.look, image.shape[:2]
    blur = rng.uniform(*look.blur) * width / 256
    if blur > 0.05:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    grey = image @ np.array([0.114, 0.587, 0.299], np.float32)
    image = grey[..., None] + (image - grey[..., None]) * np.float32(rng.uniform(*look.saturation))
    balance = 1 + look.white_balance * rng.standard_normal(3)
    image = image * (balance * rng.uniform(*look.exposure)).astype(np.float32)
    image = 118 + (image - 118) * np.float32(rng.uniform(*look.contrast))
    image *= _vignette(height, width, rng.uniform(*look.vignetting))[..., None]
    noise = rng.standard_normal((height, width, 3), np.float32) * np.float32(rng.uniform(*look.noise))
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _vignette(height: int, width: int, loss: float) -> np.ndarray:
    """Brightness gain that falls towards the corners, float32 [H, W]."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return 1 - np.float32(loss) * (x * x + y * y) / 2
