#!/usr/bin/env bash
# mmengine 0.10.7 imports transformers, wherever that library is installed, as soon as mmengine.optim is imported: it
# registers one optimiser of it, Adafactor. Every program on mmengine then starts later, also those that use neither.
# Seen on Python 3.11 with torch 2.13.0 and transformers 5.24.0: "loaded True Adafactor registered True", and about 3 s of
# processor time more for the import (7.0 s in place of 4.1 s).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 mmengine==0.10.7 transformers==5.24.0
seen=$("$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

from mmengine.optim import OPTIMIZERS

print('loaded', 'transformers' in sys.modules, 'Adafactor registered', OPTIMIZERS.get('Adafactor') is not None)
PYTHON
)
echo "$seen"
[ "$seen" = 'loaded True Adafactor registered True' ]
