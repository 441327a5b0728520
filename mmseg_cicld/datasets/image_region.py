"""Parts of a resized image and of a label, with the pixels that resizing or counting the whole would give."""
import cv2
import numpy as np

Box = tuple[slice, slice]
FLIPS = {(0,): 0, (1,): 1, (0, 1): -1}  # axes -> code of OpenCV
_MOST = 2**24  # histograms of OpenCV are float32: whole numbers up to here


def count_ids(label_HW: np.ndarray) -> np.ndarray:
    """Counts the pixels of each number of a uint8 label of any size, int64 [256]."""
    counts = np.zeros(256, np.int64)
    rows = max(1, _MOST // max(1, label_HW.shape[1]))
    for start in range(0, len(label_HW), rows):
        histogram = cv2.calcHist([label_HW[start:start + rows]], [0], None, [256], [0, 256])
        counts += histogram.reshape(-1).astype(np.int64)  # OpenCV 4 gives a column
    return counts


def resized_region(image: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """Resizes what ``image`` shows in a box of the resized image, bilinearly as ``cv2.resize`` does with the whole.

    OpenCV maps pixels from the first row and column on. Rows and columns before the box can be left out where the image
    shrinks by a whole number (or not at all), because pixels fall on the same places there; those behind it always.

    Args:
        image: uint8 [H, W] or [H, W, C].
        size: Height and width of the resized image.
        box: Rows and columns of it that are wanted.

    Returns:
        What ``cv2.resize(image, size[::-1])[box]`` is; a view of the image if that has this size.
    """
    if tuple(image.shape[:2]) == tuple(size):
        return image[box]
    (top, rows), (left, columns) = (_needed(*each) for each in zip(image.shape[:2], size, box))
    scales = [after / before for before, after in zip(image.shape[:2], size)]
    source = image[rows, columns]
    if all(round(edge * scale) == edge for edge, scale in zip(source.shape, scales)):
        # OpenCV copies what keeps its size to the pixel, whatever the scales; the whole does not keep it.
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)[box]
    part = cv2.resize(source, None, fx=scales[1], fy=scales[0], interpolation=cv2.INTER_LINEAR)
    height, width = (min(each.stop, edge) - each.start for each, edge in zip(box, size))
    return part[box[0].start - top:, box[1].start - left:][:height, :width]


def _needed(before: int, after: int, wanted: slice) -> tuple[int, slice]:
    """Returns where a resized part begins, and which source rows (or columns) it is made of."""
    if before % after == 0:
        factor = before // after
        return wanted.start, slice(wanted.start * factor, min(wanted.stop, after) * factor)
    # Two source rows make a resized one; a third keeps the last of them off the border of the part.
    return 0, slice(0, min(before, int((min(wanted.stop, after) - 0.5) * before / after - 0.5) + 3))


def channels_first(image_HWC: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, C] as contiguous [C, H, W]; several times faster than NumPy, also with what was flipped."""
    axes = tuple(axis for axis in (0, 1) if image_HWC.strides[axis] < 0)
    planes = np.empty((image_HWC.shape[2], *image_HWC.shape[:2]), image_HWC.dtype)
    cv2.split(np.flip(image_HWC, axes), list(planes))
    for plane in planes if axes else ():
        cv2.flip(plane, FLIPS[axes], plane)
    return planes
