#!/usr/bin/env bash
# diffusers 0.42.1: `from diffusers import *` raises an AttributeError. The list of public names holds
# OnnxStableDiffusionInpaintPipelineLegacy, which diffusers.pipelines does not have; the like name without Onnx is there.
# Whatever walks dir(diffusers) with getattr (documentation tools, registries) meets it too.
# Seen on Python 3.11 with torch 2.13.0, transformers 5.24.0 and onnxruntime 1.32.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 onnxruntime==1.32.0
seen=$("$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
try:
    from diffusers import *  # noqa: F403
except AttributeError as error:
    print(error)
PYTHON
)
echo "$seen"
[ "$seen" = 'module diffusers.pipelines has no attribute OnnxStableDiffusionInpaintPipelineLegacy' ]
