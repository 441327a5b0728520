"""Buildings with windows, walls and fences: upright panels with textures made for the distance they are seen at."""
import cv2
import numpy as np

from .canvas import Canvas
from .classes import TrainId
from .lighting import Lighting
from .noise import noise_tile
from .scene import Barrier, Building

_FINEST = 12.0


def _texels_per_metre(canvas: Canvas, base: np.ndarray) -> float:
    """Texture resolution that suits the distance of the middle of a panel."""
    middle = canvas.camera.to_camera(np.insert(base.mean(axis=0), 1, 2.0)[None])[0]
    distance = max(6.0, float(np.hypot(middle[0], max(middle[2], 0))))
    return float(np.clip(canvas.camera.focal / distance, 1.6, _FINEST))


def draw_building(canvas: Canvas, light: Lighting, house: Building) -> None:
    """Draws the front, the end towards the camera and the roof of a building."""
    front, outward = np.array(house.front), np.array(house.outward)
    height = house.storeys * house.storey_height
    side = np.stack([front[0], front[0] + outward * house.depth])
    rng = np.random.default_rng([light.seed, int(house.unit * 2**31)])
    normal = np.array([-outward[0], 0.0, -outward[1]])
    end_normal = np.array([0.0, 0.0, -1.0])
    for base, facing, shop in ((side, end_normal, False), (front, normal, house.shop)):
        if not canvas.sees(base, height):
            continue
        length = float(np.hypot(*(base[1] - base[0])))
        texture = _facade(light, house, length, _texels_per_metre(canvas, base), shop, rng)
        lit = light.shade(texture.astype(np.float32), facing).astype(np.uint8)
        canvas.panel(base, 0.0, height, lit, TrainId.BUILDING)
    if house.gable:
        _draw_roof(canvas, light, house, front, side, height)


def _draw_roof(canvas: Canvas, light: Lighting, house: Building, front: np.ndarray, side: np.ndarray,
               height: float) -> None:
    rise, half = 0.38 * house.depth, (side[1] - side[0]) / 2
    eaves = [np.array([x, height, z]) for x, z in front]
    ridge = [np.array([x + half[0], height + rise, z + half[1]]) for x, z in front]
    back = np.array([side[1][0], height, side[1][1]])
    wall = light.shade(light.paint('facade', house.unit), np.array([0, 0, -1.0]))
    canvas.world_polygon(np.array([eaves[0], ridge[0], back]), wall, TrainId.BUILDING)
    slope = np.array([-half[0], np.hypot(*half), -half[1]])
    roof = light.shade(light.paint('roof', house.unit), slope / np.linalg.norm(slope))
    canvas.world_polygon(np.array([eaves[0], eaves[1], ridge[1], ridge[0]]), roof, TrainId.BUILDING)


def _facade(light: Lighting, house: Building, length: float, resolution: float, shop: bool,
            rng: np.random.Generator) -> np.ndarray:
    """Texture of one face, unlit, uint8 [h, w, 3]."""
    bay = 2.0 + 1.4 * (house.unit * 11 % 1)
    cell = (max(5, round(house.storey_height * resolution)), max(4, round(bay * resolution)))
    bays = max(1, round(length / bay))
    wall = light.paint('facade', house.unit)
    window, glass = _window_cell(light, house, cell, wall)
    texture = np.tile(window, (house.storeys, bays, 1)).astype(np.float32)
    panes = np.tile(glass, (house.storeys, bays))
    glow = rng.uniform(0.75, 1.3, (house.storeys, bays)).astype(np.float32)
    gain = np.repeat(np.repeat(glow, cell[0], axis=0), cell[1], axis=1)
    texture *= np.where(panes, gain, 1.0)[..., None]
    _ground_floor(texture[-cell[0]:], light, house, cell, shop)
    cornice = max(1, round(0.4 * resolution))
    texture[:cornice] = np.clip(wall * 1.12, 0, 255)
    texture[cornice:cornice + max(1, cornice // 2)] *= 0.75
    return np.clip(texture * _weathering(light, house, texture.shape[:2]), 0, 255).astype(np.uint8)


def _window_cell(light: Lighting, house: Building, cell: tuple[int, int], wall: np.ndarray
                 ) -> tuple[np.ndarray, np.ndarray]:
    """One storey of one bay: colour [h, w, 3] and where the glass is, bool [h, w]."""
    height, width = cell
    tile = np.empty((height, width, 3), np.float32)
    tile[:] = wall
    wide = 0.22 - 0.1 * (house.unit * 5 % 1)
    top, bottom = round(0.2 * height), max(round(0.74 * height), round(0.2 * height) + 2)
    left, right = round(wide * width), max(width - round(wide * width), round(wide * width) + 2)
    rim = max(1, round(0.05 * height))
    tile[max(top - rim, 0):bottom + rim, max(left - rim, 0):right + rim] = light.paint('frame', house.unit)
    pane = light.paint('glass', house.unit)
    fall = np.linspace(1.25, 0.8, bottom - top, dtype=np.float32)[:, None, None]
    tile[top:bottom, left:right] = pane * fall
    glass = np.zeros(cell, bool)
    glass[top:bottom, left:right] = True
    if right - left >= 6:
        tile[top:bottom, (left + right) // 2] = light.paint('frame', house.unit)
    tile[-max(1, rim // 2):] *= 0.86
    return tile, glass


def _ground_floor(storey: np.ndarray, light: Lighting, house: Building, cell: tuple[int, int], shop: bool) -> None:
    """Shop windows under an awning, or a door, painted into the lowest storey in place."""
    height, width = storey.shape[:2]
    if shop:
        storey[:] = light.paint('facade', house.unit) * 0.7
        top, step = round(0.3 * height), max(4, round(1.6 * cell[1]))
        for left in range(1, width - 2, step):
            storey[top:round(0.92 * height), left:min(left + step - 1, width - 1)] = light.paint('shop', house.unit)
        storey[round(0.12 * height):top] = light.paint('awning', house.unit)
        return
    door = (int(house.unit * 31 % 1 * max(width // cell[1], 1)) * cell[1], max(2, round(0.45 * cell[1])))
    storey[round(0.25 * height):, door[0] + door[1] // 2:door[0] + door[1] // 2 + door[1]] = light.paint(
        'roof', house.unit) * 0.7


def _weathering(light: Lighting, house: Building, shape: tuple[int, int]) -> np.ndarray:
    """Brightness gain of a facade: blotches and dirt towards the ground, float32 [h, w, 1]."""
    offset = int(house.unit * 128)
    blotch = noise_tile(1.2, 51)[offset:offset + 64, offset:offset + 64]
    fine = cv2.resize(noise_tile(0.5, 52)[:96, :96], shape[::-1], interpolation=cv2.INTER_LINEAR)
    blotch = cv2.resize(blotch, shape[::-1], interpolation=cv2.INTER_LINEAR)
    dirt = np.linspace(1.04, 0.9, shape[0], dtype=np.float32)[:, None]
    return ((1 + light.look.texture * (0.05 * blotch + 0.06 * fine)) * dirt)[..., None]


def draw_wall(canvas: Canvas, light: Lighting, wall: Barrier) -> None:
    """Draws a wall of blocks under a coping."""
    base = np.array(wall.base)
    height, width = 36, 96
    color = np.empty((height, width, 3), np.float32)
    color[:] = light.paint('wall', wall.unit)
    rows = np.arange(height)[:, None] // 6
    joint = (np.arange(height)[:, None] % 6 == 0) | ((np.arange(width)[None] + 6 * (rows % 2)) % 12 == 0)
    color *= np.where(joint, 0.82, 1.0)[..., None]
    color[:4] = np.clip(light.paint('kerb', wall.unit), 0, 255)
    color[4:6] *= 0.7
    grain = noise_tile(0.8, 53)[:height, :width, None]
    color = np.clip(color * (1 + 0.09 * light.look.texture * grain), 0, 255)
    along = base[1] - base[0]
    inward = np.array([-along[1], 0.0, along[0]]) / np.hypot(*along)
    inward *= -np.sign(inward[0] * base[0][0] + 1e-9)
    canvas.panel(base, 0.0, wall.height, light.shade(color, inward).astype(np.uint8), TrainId.WALL)


def draw_fence(canvas: Canvas, light: Lighting, fence: Barrier) -> None:
    """Draws a fence of posts, rails and pickets one can see through; its label covers the gaps too."""
    height, width = 32, 128
    solid = np.zeros((height, width), np.uint8)
    solid[:, np.arange(width) % 4 < 2] = 255
    solid[3:6] = solid[-8:-5] = 255
    solid[:, :4] = 255
    solid[:2, np.arange(width) % 32 > 3] = 0
    color = np.empty((height, width, 3), np.float32)
    color[:] = light.paint('fence', fence.unit) * (light.ambient + 0.35 * light.sun)
    color[3:6] *= 1.15
    color[:, 2::4] *= 0.75
    texture = np.clip(color, 0, 255).astype(np.uint8)
    canvas.panel(np.array(fence.base), 0.0, fence.height, texture, TrainId.FENCE, np.maximum(solid, 60))
