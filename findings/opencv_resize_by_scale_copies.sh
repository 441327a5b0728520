#!/usr/bin/env bash
# cv2.resize with fx and fy copies an image whose size they round to itself, in place of resizing it.
#
# opencv-python-headless 5.0.0.93. With fx=1, fy=6/7 an image of 3 rows becomes one of round(3 * 6/7) = 3 rows. Its rows
# are not those that the scale maps them to: they are copied. With another row the same scale resizes, and the first rows
# that come out are others, those of the whole image resized to 6/7. So an image that is resized in parts, part by part with
# the scale of the whole, has other pixels in small parts (here by up to 25 of 255), and nothing says so. What to do: resize
# such a part together with what is behind it, or the whole.
# Output seen:
#   first rows of 3: [0, 100, 200], of 7: [8, 125, 221]
# Fails if a part of 3 rows is resized, or if parts of 3 and 7 rows agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

whole = np.array([0, 100, 200, 250, 250, 250, 250], np.uint8)[:, None]
part, more = (cv2.resize(whole[:rows], None, fx=1, fy=6 / 7).reshape(-1)[:3].tolist() for rows in (3, 7))
print(f'first rows of 3: {part}, of 7: {more}')
assert part == whole[:3, 0].tolist(), 'a part that keeps its size is resized now'
assert part != more and more == cv2.resize(whole, (1, 6)).reshape(-1)[:3].tolist(), 'the scale is ignored for 7 rows too'
PYTHON
