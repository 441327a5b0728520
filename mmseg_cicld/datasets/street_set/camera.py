"""A pinhole camera over a ground plane.

World: x to the right, y up, z forward along the road, metres, ground at y = 0. Camera frame: x right, y up, z depth.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.6
"""Nothing closer to the camera than this many metres is drawn."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera with square pixels and the principal point in the image centre.

    Args:
        width: Image width in pixels.
        height: Image height in pixels.
        focal: Focal length in pixels.
        position: World position (x, y, z) in metres; y is the height above the ground.
        pitch: Downward tilt in radians.
        yaw: Rotation to the right in radians.
        roll: Clockwise rotation about the viewing direction in radians.
    """

    width: int
    height: int
    focal: float
    position: tuple[float, float, float]
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0

    @cached_property
    def rotation(self) -> np.ndarray:
        """Rows are the camera's right, up and forward axes in world coordinates, float64 [3, 3]."""
        sin_p, cos_p = np.sin(self.pitch), np.cos(self.pitch)
        sin_y, cos_y = np.sin(self.yaw), np.cos(self.yaw)
        sin_r, cos_r = np.sin(self.roll), np.cos(self.roll)
        right = np.array([cos_y, 0.0, -sin_y])
        up = np.array([sin_p * sin_y, cos_p, sin_p * cos_y])
        forward = np.array([cos_p * sin_y, -sin_p, cos_p * cos_y])
        return np.stack([cos_r * right - sin_r * up, sin_r * right + cos_r * up, forward])

    @property
    def horizon_row(self) -> float:
        """Row of the horizon in the image's middle column: ``height / 2 - focal * tan(pitch)`` without roll."""
        return self.height / 2 - self.focal * np.tan(self.pitch) / np.cos(self.roll)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Moves world points [N, 3] into the camera frame [N, 3]; column 2 is the depth in metres."""
        return (np.asarray(points, np.float64) - self.position) @ self.rotation.T

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Projects camera-frame points [N, 3] with positive depth to pixel coordinates [N, 2] (column, row)."""
        scale = self.focal / points[:, 2:]
        return points[:, :2] * (scale * (1.0, -1.0)) + (self.width / 2, self.height / 2)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projects world points.

        Args:
            points: World points [N, 3], all in front of the camera.

        Returns:
            Pixel coordinates [N, 2] (column, row) and depths [N] in metres.
        """
        local = self.to_camera(points)
        return self.to_pixels(local), local[:, 2]

    @cached_property
    def rays(self) -> np.ndarray:
        """World directions through all pixel centres, scaled to depth 1, float32 [height, width, 3]."""
        columns = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        rows = (self.height / 2 - np.arange(self.height) - 0.5) / self.focal
        right, up, forward = self.rotation.astype(np.float32)
        along = columns.astype(np.float32)[None, :, None] * right
        return along + (rows.astype(np.float32)[:, None, None] * up + forward)


def clip_near(points: np.ndarray, near: float = NEAR) -> np.ndarray:
    """Cuts off the part of a polygon that is closer than ``near`` (Sutherland-Hodgman against one plane).

    Args:
        points: Corners [N, 3] in the camera frame.
        near: Smallest depth to keep, in metres.

    Returns:
        Corners [M, 3] of what is left; M is 0 when nothing is.
    """
    inside = points[:, 2] >= near
    if inside.all():
        return points
    kept = []
    for i in range(len(points)):
        a, b = points[i - 1], points[i]
        if inside[i - 1] != inside[i]:
            kept.append(a + (b - a) * ((near - a[2]) / (b[2] - a[2])))
        if inside[i]:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)
