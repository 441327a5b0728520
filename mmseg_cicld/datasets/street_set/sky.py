"""The sky: a gradient and a flat layer of clouds in perspective."""
import cv2
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .noise import TILE, noise_tile, sample_tile


def draw_sky(canvas: Canvas, light: Lighting) -> None:
    """Fills all rows down to a little below the horizon with sky."""
    camera = canvas.camera
    bottom = int(np.clip(camera.horizon_row + 0.03 * camera.width, 2, camera.height))
    rays = camera.rays[:bottom:2, ::2]
    flat = np.hypot(rays[..., 0], rays[..., 2])
    slope = np.maximum(rays[..., 1] / flat, 1e-3)
    high = 1 - np.exp(-slope * 3.5)
    color = light.horizon + (light.zenith - light.horizon) * high[..., None]
    cover = _cloud_cover(rays / flat[..., None], slope, light)[..., None]
    bright = 0.35 * light.horizon + 0.65 * np.array([250, 250, 250], np.float32) * (0.75 + 0.25 * light.ambient)
    small = np.clip(color + (bright - color) * cover, 0, 255).astype(np.uint8)
    canvas.color[:bottom] = cv2.resize(small, (camera.width, bottom), interpolation=cv2.INTER_LINEAR)
    canvas.label[:bottom] = TrainId.SKY


def _cloud_cover(rays: np.ndarray, slope: np.ndarray, light: Lighting) -> np.ndarray:
    """Opacity of the clouds at directions of level length 1, float32 [rows, width]."""
    reach = 40.0 / (slope + 0.12)
    x, y = rays[..., 0] * reach + light.seed % TILE, rays[..., 2] * reach
    density = sample_tile(noise_tile(1.7, 11), x, y) + 2.4 * light.clouds - 1.4
    edge = light.look.cloud_edge
    return np.clip(density / edge, 0, 1) * np.clip(slope * 9, 0, 1) * (0.25 + 0.6 * light.clouds)
