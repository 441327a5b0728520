"""Cars, vans, trucks, buses and trains as small polygon meshes."""
from dataclasses import dataclass
from functools import cache

import numpy as np

from .camera import NEAR, clip_near
from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .scene import Vehicle

_LABEL = {'sedan': TrainId.CAR, 'hatch': TrainId.CAR, 'van': TrainId.CAR, 'truck': TrainId.TRUCK, 'bus': TrainId.BUS,
          'train': TrainId.TRAIN}
_SIZE = {'sedan': (0.9, 2.2), 'hatch': (0.88, 1.95), 'van': (0.95, 2.4), 'truck': (1.25, 4.3), 'bus': (1.27, 5.75),
         'train': (1.35, 12.5)}
_BODY = {'sedan': 'car', 'hatch': 'car', 'van': 'car', 'truck': 'truck', 'bus': 'bus', 'train': 'train'}


@dataclass(frozen=True)
class Face:
    """A flat polygon of a mesh: corners [N, 3], outward normal [3], paint."""

    points: np.ndarray
    normal: np.ndarray
    material: str


class _Part:
    """Collects the faces of one convex piece; what is added later lies on top of what was added before."""

    def __init__(self, middle: tuple[float, float, float]) -> None:
        self.middle = np.array(middle)
        self.faces: list[Face] = []

    def add(self, points: list | np.ndarray, material: str) -> None:
        """Adds a polygon; its normal is turned away from the part's middle."""
        corners = np.asarray(points, np.float64)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal = normal / np.linalg.norm(normal)
        if normal.dot(corners.mean(axis=0) - self.middle) < 0:
            normal = -normal
        self.faces.append(Face(corners, normal, material))

    def hull(self, profile: list[tuple[float, float, float]], materials: list[str], side: str) -> None:
        """Adds the skin of a piece given by its side view.

        Args:
            profile: (z, y, half width) from the lower rear over the top to the lower front.
            materials: Paint of the strips between consecutive points.
            side: Paint of both sides.
        """
        for sign in (-1, 1):
            self.add([(sign * half, y, z) for z, y, half in profile], side)
        for (z0, y0, w0), (z1, y1, w1), material in zip(profile[:-1], profile[1:], materials):
            self.add([(-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)], material)

    def on_sides(self, outline: list[tuple[float, float, float]], material: str) -> None:
        """Adds the same outline (z, y, half width) to both sides."""
        for sign in (-1, 1):
            self.add([(sign * half, y, z) for z, y, half in outline], material)

    def across(self, z: float, x: tuple[float, float], y: tuple[float, float], material: str) -> None:
        """Adds an upright rectangle that faces forward or back, and its mirror image when it is off the middle."""
        spans = [x] if x[0] == -x[1] else [x, (-x[1], -x[0])]
        for low, high in spans:
            self.add([(low, y[0], z), (high, y[0], z), (high, y[1], z), (low, y[1], z)], material)

    def wheel(self, z: float, radius: float, half: float) -> None:
        """Adds a wheel on both sides."""
        angle = np.arange(12) * (2 * np.pi / 12)
        for share, material in ((1.0, 'tyre'), (0.58, 'rim')):
            ring = [(z + share * radius * np.cos(a), radius + share * radius * np.sin(a), half) for a in angle]
            self.on_sides(ring, material)


def _car(half: float, belt: float, roof: float, nose: float, tail: float, cabin: tuple[float, float, float, float]
         ) -> list[_Part]:
    """A passenger car; ``cabin`` is z of rear base, rear roof, front roof and front base."""
    part = _Part((0.0, 0.7, 0.0))
    top = half * 0.76
    base_rear, roof_rear, roof_front, base_front = cabin
    _box(part, half * 0.82, (0.1, 0.32), (tail + 0.3, nose - 0.3), 'tyre')
    part.hull([(tail + 0.06, 0.24, half), (tail, 0.6, half), (tail + 0.1, belt, half * 0.95),
               (base_front, belt + 0.02, half * 0.95), (nose - 0.25, belt - 0.16, half * 0.94), (nose, 0.58, half),
               (nose - 0.05, 0.24, half)], ['trim', 'body', 'body', 'body', 'body', 'trim'], 'body')
    part.hull([(base_rear, belt, half * 0.93), (roof_rear, roof, top), (roof_front, roof, top),
               (base_front, belt, half * 0.93)], ['window', 'body', 'window'], 'body')
    low, high = belt + 0.04, roof - 0.09
    edge, inner = half * 0.925, top + 0.03
    middle = 0.5 * (roof_rear + roof_front)
    part.on_sides([(base_rear + 0.28, low, edge), (roof_rear + 0.08, high, inner), (middle - 0.05, high, inner),
                   (middle - 0.05, low, edge)], 'window')
    part.on_sides([(middle + 0.05, low, edge), (middle + 0.05, high, inner), (roof_front - 0.06, high, inner),
                   (base_front - 0.3, low, edge)], 'window')
    for z in (tail + 0.78, nose - 0.78):
        part.wheel(z, 0.34, half + 0.01)
    part.across(tail - 0.01, (half * 0.55, half * 0.95), (0.6, 0.82), 'tail')
    part.across(tail - 0.01, (-0.26, 0.26), (0.5, 0.62), 'plate')
    part.across(nose + 0.01, (half * 0.55, half * 0.95), (0.52, 0.68), 'head')
    part.across(nose + 0.01, (-half * 0.45, half * 0.45), (0.36, 0.56), 'trim')
    return [part]


def _box(part: _Part, half: float, y: tuple[float, float], z: tuple[float, float], material: str) -> None:
    part.hull([(z[0], y[0], half), (z[0], y[1], half), (z[1], y[1], half), (z[1], y[0], half)], [material] * 3,
              material)


def _windows(part: _Part, half: float, y: tuple[float, float], z: tuple[float, float], count: int, gap: float) -> None:
    edges = np.linspace(*z, count + 1)
    for a, b in zip(edges[:-1] + gap / 2, edges[1:] - gap / 2):
        part.on_sides([(a, y[0], half + 0.01), (a, y[1], half + 0.01), (b, y[1], half + 0.01),
                       (b, y[0], half + 0.01)], 'window')


def _bus() -> list[_Part]:
    part = _Part((0.0, 1.7, 0.0))
    half, rear, front = 1.27, -5.75, 5.75
    _box(part, half, (0.35, 3.1), (rear, front), 'body')
    part.on_sides([(rear, 0.36, 1.275), (rear, 0.8, 1.275), (front, 0.8, 1.275), (front, 0.36, 1.275)], 'stripe')
    _windows(part, half, (1.35, 2.6), (rear + 0.3, front - 0.2), 7, 0.22)
    part.on_sides([(front - 1.4, 0.5, 1.29), (front - 1.4, 2.6, 1.29), (front - 0.4, 2.6, 1.29),
                   (front - 0.4, 0.5, 1.29)], 'window')
    part.across(front + 0.01, (-1.15, 1.15), (1.15, 2.6), 'window')
    part.across(front + 0.02, (-0.85, 0.85), (2.7, 2.98), 'trim')
    part.across(front + 0.02, (0.75, 1.15), (0.6, 0.85), 'head')
    part.across(rear - 0.01, (-1.05, 1.05), (1.7, 2.6), 'window')
    part.across(rear - 0.01, (0.95, 1.2), (0.8, 1.5), 'tail')
    part.across(rear - 0.01, (-0.9, 0.9), (0.45, 0.7), 'trim')
    for z in (-3.3, 3.4):
        part.wheel(z, 0.5, half + 0.02)
    return [part]


def _truck() -> list[_Part]:
    cab, load = _Part((0.0, 1.7, 3.4)), _Part((0.0, 2.0, -1.1))
    _box(cab, 1.2, (0.55, 2.85), (2.5, 4.3), 'body')
    _windows(cab, 1.2, (1.75, 2.55), (2.9, 4.2), 1, 0.1)
    cab.across(4.31, (-1.08, 1.08), (1.65, 2.6), 'window')
    cab.across(4.32, (0.75, 1.12), (0.75, 1.0), 'head')
    cab.across(4.32, (-0.65, 0.65), (0.75, 1.45), 'trim')
    cab.wheel(3.3, 0.5, 1.22)
    _box(load, 1.05, (0.55, 0.95), (-4.2, 2.3), 'trim')
    _box(load, 1.25, (0.95, 3.6), (-4.3, 2.2), 'cargo')
    for z in (-4.2, -2.05, 0.05, 2.1):
        load.on_sides([(z - 0.06, 0.95, 1.26), (z - 0.06, 3.6, 1.26), (z + 0.06, 3.6, 1.26), (z + 0.06, 0.95, 1.26)],
                      'trim')
    load.across(-4.31, (-0.05, 0.05), (0.95, 3.55), 'trim')
    load.across(-4.31, (1.12, 1.22), (0.95, 3.55), 'trim')
    load.across(-4.31, (0.75, 1.15), (0.68, 0.92), 'tail')
    for z in (-3.2, -2.1):
        load.wheel(z, 0.5, 1.2)
    return [load, cab]


def _train() -> list[_Part]:
    """A tram of three cars."""
    parts, half = [], 1.35
    for z0, z1 in ((-12.5, -4.4), (-4.0, 4.0), (4.4, 12.5)):
        part = _Part((0.0, 1.9, (z0 + z1) / 2))
        taper0, taper1 = (0.7 if z0 < -12 else 0.0), (0.7 if z1 > 12 else 0.0)
        part.hull([(z0, 0.3, half), (z0, 1.4, half), (z0 + taper0, 3.4, half * 0.96), (z1 - taper1, 3.4, half * 0.96),
                   (z1, 1.4, half), (z1, 0.3, half)],
                  ['body', 'window' if taper0 else 'trim', 'stripe', 'window' if taper1 else 'trim', 'body'], 'stripe')
        _band(part, half + 0.005, (0.3, 1.3), (z0, z1), 'body')
        _band(part, half + 0.005, (1.55, 2.75), (z0 + 0.8 * (taper0 > 0), z1 - 0.8 * (taper1 > 0)), 'window')
        for z in np.linspace(z0 + 1.6, z1 - 1.6, 3):
            _band(part, half + 0.01, (0.45, 2.85), (z - 0.5, z + 0.5), 'body')
            _band(part, half + 0.015, (1.3, 2.7), (z - 0.38, z + 0.38), 'window')
        for z, end in ((z0 - 0.02, taper0), (z1 + 0.02, taper1)):
            if end:
                part.across(z, (0.7, 1.2), (0.7, 0.98), 'head' if z > 0 else 'tail')
                part.across(z, (-0.5, 0.5), (1.05, 1.3), 'stripe')
        parts.append(part)
    return parts


def _band(part: _Part, half: float, y: tuple[float, float], z: tuple[float, float], material: str) -> None:
    part.on_sides([(z[0], y[0], half), (z[0], y[1], half), (z[1], y[1], half), (z[1], y[0], half)], material)


@cache
def _mesh(kind: str) -> list[_Part]:
    match kind:
        case 'sedan':
            return _car(0.9, 0.93, 1.45, 2.2, -2.2, (-1.75, -1.05, 0.15, 1.05))
        case 'hatch':
            return _car(0.88, 0.95, 1.52, 1.95, -1.95, (-1.9, -1.5, 0.2, 1.0))
        case 'van':
            return _car(0.95, 1.05, 1.9, 2.4, -2.4, (-2.35, -2.15, 0.85, 1.6))
        case 'bus':
            return _bus()
        case 'truck':
            return _truck()
    return _train()


def _axes(vehicle: Vehicle) -> np.ndarray:
    """Rows are the vehicle's right, up and forward axes in the world."""
    sin, cos = np.sin(vehicle.yaw), np.cos(vehicle.yaw)
    return np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])


def footprint(vehicle: Vehicle, margin: float) -> np.ndarray:
    """Ground corners (x, z) of a vehicle grown by ``margin`` metres, [4, 2]."""
    half, reach = _SIZE[vehicle.kind]
    half, reach = half * vehicle.scale[0] + margin, reach * vehicle.scale[2] + margin
    local = np.array([[-half, 0, -reach], [half, 0, -reach], [half, 0, reach], [-half, 0, reach]])
    return (local @ _axes(vehicle))[:, [0, 2]] + (vehicle.x, vehicle.z)


def draw_vehicle(canvas: Canvas, light: Lighting, vehicle: Vehicle) -> None:
    """Draws a vehicle: parts from far to near, of each part the faces that look at the camera."""
    axes, place = _axes(vehicle), np.array([vehicle.x, 0.0, vehicle.z])
    eye = ((np.array(canvas.camera.position) - place) @ axes.T) / vehicle.scale
    parts = sorted(_mesh(vehicle.kind), key=lambda part: -abs(part.middle[2] - eye[2]))
    for part in parts:
        faces = [face for face in part.faces if face.normal.dot(eye - face.points[0]) > 0]
        if not faces:
            continue
        world = np.concatenate([face.points for face in faces]) * vehicle.scale @ axes + place
        local = canvas.camera.to_camera(world)
        _draw_faces(canvas, light, vehicle, faces, local, axes)


def _draw_faces(canvas: Canvas, light: Lighting, vehicle: Vehicle, faces: list[Face], local: np.ndarray,
                axes: np.ndarray) -> None:
    start = 0
    for face in faces:
        corners = clip_near(local[start:start + len(face.points)], NEAR)
        start += len(face.points)
        if len(corners) < 3:
            continue
        color = _face_color(light, vehicle, face, face.normal @ axes)
        canvas.polygon(canvas.camera.to_pixels(corners), corners[:, 2].mean(), color, _LABEL[vehicle.kind])


def _face_color(light: Lighting, vehicle: Vehicle, face: Face, normal: np.ndarray) -> np.ndarray:
    match face.material:
        case 'head' | 'tail':
            return light.paint(face.material, vehicle.unit)
        case 'body':
            return light.shade(light.paint(_BODY[vehicle.kind], vehicle.unit), normal)
        case 'cargo':
            return light.shade(light.paint('truck', vehicle.unit * 3.7 % 1), normal)
        case 'window':
            glass = light.shade(light.paint('window', vehicle.unit), normal)
            return glass + 0.3 * max(0.0, float(normal[1])) * (light.horizon - glass)
    return light.shade(light.paint(face.material, vehicle.unit), normal)
