"""The picture under construction: colour, label and depth buffers that are always written together.

Objects are painted far to near (painter's algorithm), so what is painted last is what the camera sees.
"""
import cv2
import numpy as np

from .camera import NEAR, Camera, clip_near

_SHIFT = 4
_STEPS = float(1 << _SHIFT)
_LIMIT = 20000.0 * _STEPS


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as the fixed-point integers of OpenCV, pixel centres at whole numbers."""
    return np.minimum(np.maximum(points * _STEPS - _STEPS / 2, -_LIMIT), _LIMIT).astype(np.int32)


class Canvas:
    """Buffers of one image.

    Args:
        camera: Camera that the world is seen through; gives the size.

    Attributes:
        color: uint8 [H, W, 3], BGR.
        label: uint8 [H, W], train ids.
        depth: float32 [H, W], metres; 0 for the sky.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.color = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.label = np.full((camera.height, camera.width), 255, np.uint8)
        self.depth = np.zeros((camera.height, camera.width), np.float32)

    def polygon(self, pixels: np.ndarray, depth: float, color: np.ndarray, label: int) -> None:
        """Fills a polygon given in pixels.

        Args:
            pixels: Corners [N, 2].
            depth: Depth of all its pixels in metres.
            color: BGR in [0, 255].
            label: Train id.
        """
        corners = [_fixed(pixels)]
        cv2.fillPoly(self.color, corners, (float(color[0]), float(color[1]), float(color[2])), shift=_SHIFT)
        cv2.fillPoly(self.label, corners, int(label), shift=_SHIFT)
        cv2.fillPoly(self.depth, corners, float(depth), shift=_SHIFT)

    def world_polygon(self, points: np.ndarray, color: np.ndarray, label: int) -> None:
        """Fills a polygon with world corners [N, 3], cut at the near plane."""
        local = clip_near(self.camera.to_camera(points))
        if len(local) >= 3:
            self.polygon(self.camera.to_pixels(local), local[:, 2].mean(), color, label)

    def stroke(self, pixels: np.ndarray, width: float, depth: float, color: np.ndarray, label: int,
               closed: bool = False) -> None:
        """Draws a thick line with round ends.

        Args:
            pixels: Points [N, 2] that the line joins.
            width: Width in pixels; at least two are drawn, so that it survives the shrinking.
            depth: Depth in metres.
            color: BGR in [0, 255].
            label: Train id.
            closed: Whether the last point is joined to the first.
        """
        points, thick = [_fixed(pixels)], max(2, round(width))
        cv2.polylines(self.color, points, closed, (float(color[0]), float(color[1]), float(color[2])), thick,
                      shift=_SHIFT)
        cv2.polylines(self.label, points, closed, int(label), thick, shift=_SHIFT)
        cv2.polylines(self.depth, points, closed, float(depth), thick, shift=_SHIFT)

    def paste(self, left: float, top: float, color: np.ndarray, mask: np.ndarray, depth: float, label: int) -> None:
        """Pastes a sprite.

        Args:
            left: Column of its left edge.
            top: Row of its upper edge.
            color: uint8 [h, w, 3].
            mask: bool [h, w], where the sprite covers.
            depth: Depth in metres.
            label: Train id.
        """
        x, y = round(left), round(top)
        height, width = mask.shape
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + width, self.camera.width), min(y + height, self.camera.height)
        if x0 >= x1 or y0 >= y1:
            return
        covered = mask[y0 - y:y1 - y, x0 - x:x1 - x]
        window = np.s_[y0:y1, x0:x1]
        cv2.copyTo(color[y0 - y:y1 - y, x0 - x:x1 - x], covered.astype(np.uint8), self.color[window])
        self.label[window][covered] = label
        self.depth[window][covered] = depth

    def panel(self, base: np.ndarray, bottom: float, top: float, texture: np.ndarray, label: int,
              alpha: np.ndarray | None = None) -> None:
        """Draws an upright textured rectangle.

        Args:
            base: Ground points (x, z) of its left and right lower corner, [2, 2], left being the texture's left.
            bottom: Height of its lower edge in metres.
            top: Height of its upper edge in metres.
            texture: uint8 [h, w, 3].
            label: Train id of the whole rectangle.
            alpha: uint8 [h, w] opacity of the colour, 255 everywhere if None. The label is not affected.
        """
        corners, span = self._panel_corners(base, bottom, top)
        if corners is None:
            return
        pixels = self.camera.to_pixels(corners)
        window, offset = self._window(pixels)
        if window is None:
            return
        height, width = texture.shape[:2]
        source = np.array([[span[0] * width, 0], [span[1] * width, 0], [span[1] * width, height],
                           [span[0] * width, height]], np.float32)
        transform = cv2.getPerspectiveTransform(source, (pixels - offset).astype(np.float32))
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        mask = np.zeros(size[::-1], np.uint8)
        cv2.fillConvexPoly(mask, _fixed(pixels - offset), 255, shift=_SHIFT)
        warped = cv2.warpPerspective(texture, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if alpha is not None:
            shown = cv2.warpPerspective(alpha, transform, size, borderMode=cv2.BORDER_REPLICATE)
            weight = shown[..., None].astype(np.float32) / 255
            warped = (self.color[window] * (1 - weight) + warped * weight).astype(np.uint8)
        inside = mask > 0
        cv2.copyTo(warped, mask, self.color[window])
        self.label[window][inside] = label
        np.copyto(self.depth[window], self._plane_depth(corners, window), where=inside)

    def sees(self, base: np.ndarray, top: float) -> bool:
        """Whether an upright rectangle on two ground points (x, z) may reach into the image."""
        corners, _ = self._panel_corners(base, 0.0, top)
        return corners is not None and self._window(self.camera.to_pixels(corners))[0] is not None

    def _panel_corners(self, base: np.ndarray, bottom: float, top: float) -> tuple[np.ndarray | None, tuple]:
        """Camera-frame corners (top left, top right, bottom right, bottom left) and the visible part of the width."""
        (ax, az), (bx, bz) = base
        world = np.array([[ax, top, az], [bx, top, bz], [bx, bottom, bz], [ax, bottom, az]])
        local = self.camera.to_camera(world)
        start, end = 0.0, 1.0
        for left, right in ((local[0, 2], local[1, 2]), (local[3, 2], local[2, 2])):
            if max(left, right) <= NEAR:
                return None, (0.0, 0.0)
            if left < NEAR:
                start = max(start, (NEAR - left) / (right - left))
            if right < NEAR:
                end = min(end, (NEAR - left) / (right - left))
        if end - start < 1e-3:
            return None, (0.0, 0.0)
        upper, lower = local[1] - local[0], local[2] - local[3]
        cut = np.stack([local[0] + start * upper, local[0] + end * upper,
                        local[3] + end * lower, local[3] + start * lower])
        return cut, (start, end)

    def _window(self, pixels: np.ndarray) -> tuple[tuple[slice, slice] | None, np.ndarray]:
        """The part of the image that a polygon's bounding box covers, and its upper left corner (column, row)."""
        low = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(0)) + 1, [self.camera.width, self.camera.height]).astype(int)
        if (high <= low).any():
            return None, low
        return (slice(low[1], high[1]), slice(low[0], high[0])), low

    def _plane_depth(self, corners: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
        """Depth of the plane through camera-frame corners at all pixels of a window, float32."""
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        camera = self.camera
        column = (np.arange(window[1].start, window[1].stop) + 0.5 - camera.width / 2) / camera.focal
        row = (camera.height / 2 - np.arange(window[0].start, window[0].stop) - 0.5) / camera.focal
        inverse = (normal[0] * column[None] + normal[1] * row[:, None] + normal[2]) / normal.dot(corners[0])
        return (1.0 / np.clip(inverse, 1e-3, 1 / NEAR)).astype(np.float32)
