"""Pedestrians, riders, bicycles and motorcycles, drawn as limbs between joints in the world."""
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .scene import Cycle, Person

_CLOSEST = 2.5


class _Pen:
    """Draws limbs of one figure in its own axes: right, up, forward, metres from the point where it stands."""

    def __init__(self, canvas: Canvas, light: Lighting, place: tuple[float, float], yaw: float, unit: float) -> None:
        self._canvas, self._light, self._unit = canvas, light, unit
        sin, cos = np.sin(yaw), np.cos(yaw)
        self._axes = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
        self._place = np.array([place[0], 0.0, place[1]])
        self._gain = light.ambient + 0.55 * light.sun
        self.visible = canvas.camera.to_camera(self._place[None])[0, 2] > _CLOSEST

    def color(self, material: str, twist: float = 1.0) -> np.ndarray:
        """Lit paint; ``twist`` decouples the colours of one figure from each other."""
        return np.minimum(self._light.paint(material, self._unit * twist % 1) * self._gain, 255)

    def limb(self, start: tuple, end: tuple, width: float, color: np.ndarray, label: int) -> None:
        """Draws a thick line between two joints."""
        self.stroke(np.array([start, end]), width, color, label)

    def stroke(self, points: np.ndarray, width: float, color: np.ndarray, label: int, closed: bool = False) -> None:
        """Draws a thick line along joints [N, 3]."""
        pixels, depth = self._canvas.camera.project(points @ self._axes + self._place)
        middle = float(depth[0] + depth[-1]) / 2
        self._canvas.stroke(pixels, width * self._canvas.camera.focal / middle, middle, color, label, closed)

    def patch(self, points: np.ndarray, color: np.ndarray, label: int) -> None:
        """Fills a polygon."""
        pixels, depth = self._canvas.camera.project(np.asarray(points) @ self._axes + self._place)
        self._canvas.polygon(pixels, float(depth.mean()), color, label)


def draw_person(canvas: Canvas, light: Lighting, person: Person) -> None:
    """Draws a pedestrian: legs in stride, torso, arms, head."""
    pen = _Pen(canvas, light, (person.x, person.z), person.yaw, person.unit)
    if not pen.visible:
        return
    size, swing, label = person.height / 1.75, 0.3 * person.stride, TrainId.PERSON
    trousers, shirt = pen.color('trousers', 3.3), pen.color('shirt', 7.1)
    for side, reach in ((-1, swing), (1, -swing)):
        hip, foot = (0.09 * side * size, 0.92 * size, 0.0), (0.1 * side * size, 0.06, reach)
        pen.limb(hip, foot, 0.17 * size, trousers * (0.85 if side < 0 else 1.0), label)
        pen.limb(foot, (foot[0], 0.05, reach + 0.12), 0.1 * size, pen.color('tyre'), label)
    pen.limb((0, 1.05 * size, 0), (0, 1.3 * size, 0), 0.4 * size, shirt, label)
    pen.limb((-0.12 * size, 1.4 * size, 0), (0.12 * size, 1.4 * size, 0), 0.2 * size, shirt, label)
    for side, reach in ((-1, -swing), (1, swing)):
        pen.limb((0.25 * side * size, 1.38 * size, 0), (0.28 * side * size, 0.9 * size, 0.8 * reach), 0.11 * size,
                 shirt * 0.82, label)
    pen.limb((0, 1.55 * size, 0), (0, 1.62 * size, 0), 0.2 * size, pen.color('skin', 5.3), label)
    pen.limb((0, 1.67 * size, -0.02), (0, 1.69 * size, -0.02), 0.2 * size, pen.color('hair', 5.9), label)


def draw_cycle(canvas: Canvas, light: Lighting, cycle: Cycle) -> None:
    """Draws a bicycle or motorcycle and, if it is ridden, its rider."""
    pen = _Pen(canvas, light, (cycle.x, cycle.z), cycle.yaw, cycle.unit)
    if not pen.visible:
        return
    if cycle.kind == 'bicycle':
        _draw_bicycle(pen)
    else:
        _draw_motorcycle(pen)
    if cycle.ridden:
        _draw_rider(pen, cycle.kind)


def _ring(radius: float, z: float, y: float) -> np.ndarray:
    angle = np.arange(14) * (2 * np.pi / 14)
    return np.stack([np.zeros(14), y + radius * np.sin(angle), z + radius * np.cos(angle)], axis=1)


def _draw_wheel(pen: _Pen, z: float, radius: float, tyre: float, inner: np.ndarray, label: int) -> None:
    pen.patch(_ring(radius, z, radius), inner, label)
    pen.stroke(_ring(radius - tyre / 2, z, radius), tyre, pen.color('tyre'), label, closed=True)


def _draw_bicycle(pen: _Pen) -> None:
    label, frame = TrainId.BICYCLE, pen.color('bicycle', 3.1)
    for z in (-0.53, 0.53):
        _draw_wheel(pen, z, 0.35, 0.07, 0.62 * pen.color('rim'), label)
    seat, head, crank = (0, 0.9, -0.22), (0, 0.88, 0.36), (0, 0.32, -0.08)
    rear, front = (0, 0.35, -0.53), (0, 0.35, 0.53)
    for a, b in ((seat, crank), (crank, head), (seat, head), (rear, crank), (rear, seat), (head, front)):
        pen.limb(a, b, 0.07, frame, label)
    pen.limb((0, 0.96, -0.36), (0, 0.96, -0.1), 0.1, pen.color('tyre'), label)
    pen.limb((0, 0.88, 0.36), (0, 1.05, 0.34), 0.06, frame, label)
    pen.limb((-0.3, 1.05, 0.32), (0.3, 1.05, 0.32), 0.06, pen.color('tyre'), label)


def _draw_motorcycle(pen: _Pen) -> None:
    label, body = TrainId.MOTORCYCLE, pen.color('motorcycle', 3.1)
    for z in (-0.68, 0.7):
        _draw_wheel(pen, z, 0.33, 0.16, pen.color('rim'), label)
    pen.limb((0, 0.5, -0.3), (0, 0.5, 0.3), 0.46, pen.color('trim'), label)
    pen.limb((0, 0.78, -0.75), (0, 0.74, -0.1), 0.26, pen.color('tyre'), label)
    pen.limb((0, 0.84, 0.02), (0, 0.86, 0.36), 0.36, body, label)
    pen.limb((0, 0.95, 0.48), (0, 0.4, 0.68), 0.12, pen.color('rim'), label)
    pen.limb((0, 0.9, 0.55), (0, 1.08, 0.5), 0.3, body, label)
    pen.limb((-0.36, 1.08, 0.42), (0.36, 1.08, 0.42), 0.09, pen.color('tyre'), label)
    pen.limb((0.14, 0.4, -0.2), (0.16, 0.42, -0.85), 0.12, pen.color('rim'), label)
    pen.limb((-0.08, 0.72, -0.95), (0.08, 0.72, -0.95), 0.1, pen.color('tail'), label)


def _draw_rider(pen: _Pen, kind: str) -> None:
    label, lean = TrainId.RIDER, (0.3 if kind == 'bicycle' else 0.12)
    seat = 0.95 if kind == 'bicycle' else 0.86
    trousers, shirt = pen.color('trousers', 3.3), pen.color('shirt', 7.1)
    hip, neck = (0, seat + 0.05, -0.25), (0, seat + 0.55, -0.25 + lean)
    for side, drop in ((-1, 0.3), (1, 0.5)):
        knee, foot = (0.16 * side, seat - 0.18, 0.16), (0.14 * side, drop if kind == 'bicycle' else 0.32, -0.02)
        pen.limb((0.1 * side, hip[1], hip[2]), knee, 0.18, trousers, label)
        pen.limb(knee, foot, 0.14, trousers * 0.85, label)
    pen.limb((0, seat + 0.14, -0.25), (0, seat + 0.42, -0.25 + 0.7 * lean), 0.4, shirt, label)
    for side in (-1, 1):
        pen.limb((0.22 * side, neck[1] - 0.08, neck[2]), (0.3 * side, seat + 0.16, 0.3), 0.12, shirt * 0.85, label)
    pen.limb((0, neck[1] + 0.1, neck[2] + 0.05), (0, neck[1] + 0.16, neck[2] + 0.06), 0.2, pen.color('skin', 5.3),
             label)
    pen.limb((0, neck[1] + 0.2, neck[2] + 0.03), (0, neck[1] + 0.23, neck[2] + 0.03), 0.25,
             pen.color('helmet', 6.7), label)
