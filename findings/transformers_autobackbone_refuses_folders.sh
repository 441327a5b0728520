#!/usr/bin/env bash
# transformers 5.24.0: AutoBackbone.from_pretrained does not load from a folder that save_pretrained wrote, as its
# documentation says it does. It first asks the hub whether a repository of that name exists, and the path of a folder is
# no name of one: HFValidationError. The class itself (Dinov2Backbone) loads the same folder.
# Seen on Python 3.11 with torch 2.13.0: "Dinov2Backbone loads, AutoBackbone: HFValidationError".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
seen=$("$folder/venv/bin/python" -W ignore - "$folder/saved" <<'PYTHON'
import sys

from transformers import AutoBackbone, Dinov2Backbone, Dinov2Config

config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28)
Dinov2Backbone(config).save_pretrained(sys.argv[1])
Dinov2Backbone.from_pretrained(sys.argv[1])
try:
    AutoBackbone.from_pretrained(sys.argv[1])
    print('Dinov2Backbone loads, AutoBackbone loads')
except Exception as error:
    print(f'Dinov2Backbone loads, AutoBackbone: {type(error).__name__}')
PYTHON
)
echo "$seen"
[ "$seen" = 'Dinov2Backbone loads, AutoBackbone: HFValidationError' ]
