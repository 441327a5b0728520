"""Street furniture: lamps, traffic lights, signs, bollards, bins."""
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .scene import Post

_CLOSEST = 2.5


class _Easel:
    """Draws flat shapes that face the camera, in metres about a post's foot: x to the right, y up."""

    def __init__(self, canvas: Canvas, light: Lighting, post: Post) -> None:
        self._canvas, self.light, self.post = canvas, light, post
        foot = canvas.camera.to_camera(np.array([[post.x, 0.0, post.z]]))
        self.depth = float(foot[0, 2])
        self.visible = self.depth > _CLOSEST
        self._scale = canvas.camera.focal / self.depth
        self._foot = canvas.camera.to_pixels(foot)[0]

    def paint(self, material: str, twist: float = 1.0) -> np.ndarray:
        """Lit paint."""
        gain = self.light.ambient + 0.5 * self.light.sun
        return np.clip(self.light.paint(material, self.post.unit * twist % 1) * gain, 0, 255)

    def _pixels(self, points: list | np.ndarray) -> np.ndarray:
        return self._foot + np.asarray(points) * (self._scale, -self._scale)

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, color: np.ndarray,
             label: int) -> None:
        """Draws a thick line."""
        self._canvas.stroke(self._pixels([start, end]), width * self._scale, self.depth, color, label)

    def shape(self, points: list | np.ndarray, color: np.ndarray, label: int) -> None:
        """Fills a polygon."""
        self._canvas.polygon(self._pixels(points), self.depth, color, label)

    def ball(self, x: float, y: float, radius: float, color: np.ndarray, label: int, corners: int = 12) -> None:
        """Fills a regular polygon, by default as good as a circle."""
        angle = (np.arange(corners) + 0.5) * (2 * np.pi / corners) - np.pi / 2
        self.shape(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1), color, label)

    def box(self, x: float, y: float, width: float, height: float, color: np.ndarray, label: int) -> None:
        """Fills a rectangle given by its middle."""
        w, h = width / 2, height / 2
        self.shape([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], color, label)


def draw_post(canvas: Canvas, light: Lighting, post: Post) -> None:
    """Draws one piece of street furniture."""
    easel = _Easel(canvas, light, post)
    if not easel.visible:
        return
    {'lamp': _lamp, 'sign': _sign, 'signal': _signal, 'mast': _mast, 'bollard': _bollard, 'board': _board,
     'bin': _bin}[post.kind](easel)


def _lamp(easel: _Easel) -> None:
    height, inward = 6.2 + 1.8 * (easel.post.unit * 3 % 1), easel.post.inward
    color = easel.paint('pole')
    easel.line((0, 0), (0, height), 0.17, color, TrainId.POLE)
    easel.line((0, 0), (0, 0.9), 0.26, color * 0.9, TrainId.POLE)
    easel.line((0, height), (1.7 * inward, height + 0.25), 0.11, color, TrainId.POLE)
    easel.line((1.5 * inward, height + 0.2), (2.2 * inward, height + 0.22), 0.2, color * 0.8, TrainId.POLE)


def _sign(easel: _Easel) -> None:
    height = 2.5 + 0.6 * (easel.post.unit * 3 % 1)
    easel.line((0, 0), (0, height), 0.12, easel.paint('pole'), TrainId.POLE)
    kind = int(easel.post.unit * 6)
    _plate(easel, kind, height)
    if easel.post.unit * 19 % 1 < 0.35:
        _plate(easel, (kind + 2) % 6, height - 0.95)


def _plate(easel: _Easel, kind: int, y: float) -> None:
    """One sign: no entry, limit, warning, stop, parking, direction or priority."""
    label, size = TrainId.TRAFFIC_SIGN, 0.46
    if kind == 0:
        easel.ball(0, y, size, easel.paint('sign_red'), label)
        easel.box(0, y, 0.6, 0.18, easel.paint('sign_white'), label)
    elif kind == 1:
        easel.ball(0, y, size, easel.paint('sign_red'), label)
        easel.ball(0, y, 0.31, easel.paint('sign_white'), label)
    elif kind == 2:
        easel.shape([(-0.54, y - 0.4), (0.54, y - 0.4), (0, y + 0.52)], easel.paint('sign_red'), label)
        easel.shape([(-0.3, y - 0.27), (0.3, y - 0.27), (0, y + 0.24)], easel.paint('sign_white'), label)
    elif kind == 3:
        easel.box(0, y, 0.82, 0.82, easel.paint('sign_blue'), label)
        easel.box(-0.06, y, 0.2, 0.5, easel.paint('sign_white'), label)
    elif kind == 4:
        easel.ball(0, y, 0.5, easel.paint('sign_white'), label, corners=4)
        easel.ball(0, y, 0.36, easel.paint('sign_yellow'), label, corners=4)
    else:
        easel.ball(0, y, size, easel.paint('sign_blue'), label)
        easel.line((-0.1, y - 0.2), (0.12, y + 0.2), 0.12, easel.paint('sign_white'), label)


def _light_head(easel: _Easel, x: float, y: float) -> None:
    """A signal head with three lamps, one of them on."""
    label, on = TrainId.TRAFFIC_LIGHT, int(easel.post.unit * 37 % 1 * 3)
    easel.box(x, y, 0.54, 1.4, easel.paint('signal', 2.3), label)
    for place, material in enumerate(('lamp_red', 'lamp_amber', 'lamp_green')):
        lit = easel.light.paint(material, easel.post.unit)
        easel.ball(x, y + 0.43 * (1 - place), 0.18, lit if place == on else 0.22 * lit, label)


def _signal(easel: _Easel) -> None:
    easel.line((0, 0), (0, 3.3), 0.15, easel.paint('pole'), TrainId.POLE)
    _light_head(easel, 0.1 * easel.post.inward, 2.9)


def _mast(easel: _Easel) -> None:
    color, inward = easel.paint('pole'), easel.post.inward
    easel.line((0, 0), (0, 5.6), 0.22, color, TrainId.POLE)
    easel.line((0, 5.5), (4.6 * inward, 5.7), 0.14, color, TrainId.POLE)
    _light_head(easel, 4.3 * inward, 5.3)
    _light_head(easel, 0.2 * inward, 2.9)


def _bollard(easel: _Easel) -> None:
    easel.line((0, 0), (0, 1.0), 0.17, easel.paint('pole', 4.1), TrainId.POLE)
    easel.line((0, 0.8), (0, 0.9), 0.17, easel.paint('sign_white'), TrainId.POLE)


def _board(easel: _Easel) -> None:
    """A large direction sign on two posts."""
    for x in (-1.0, 1.0):
        easel.line((x, 0), (x, 3.6), 0.13, easel.paint('pole'), TrainId.POLE)
    material = ('sign_blue', 'sign_green', 'sign_yellow')[int(easel.post.unit * 3)]
    easel.box(0, 3.0, 2.5, 1.4, easel.paint(material), TrainId.TRAFFIC_SIGN)
    for y in (3.3, 2.75):
        easel.line((-0.9, y), (0.7, y), 0.14, easel.paint('sign_white'), TrainId.TRAFFIC_SIGN)


def _bin(easel: _Easel) -> None:
    """A litter bin: not among the 19 classes, so ignored."""
    easel.box(0, 0.5, 0.6, 1.0, easel.paint('clutter'), TrainId.IGNORE)
    easel.box(0, 1.03, 0.68, 0.1, easel.paint('clutter') * 0.7, TrainId.IGNORE)
