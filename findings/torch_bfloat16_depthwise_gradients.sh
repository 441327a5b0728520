#!/usr/bin/env bash
# Depthwise convolutions in bfloat16 on a CPU: forward fast, gradients many times slower than in float32.
#
# torch 2.13.0 with oneDNN, one thread, on an AMD EPYC whose cores multiply bfloat16 themselves (AVX-512 BF16), maps
# channels-last. Convolving two maps takes no longer in bfloat16 than in float32, but
# - the gradient of the input of a convolution with a stride takes 40 times as long,
# - the gradient of a kernel of 5 x 5 takes three times as long, and in float32 already more than ten times as long as that
#   of one of 3 x 3, which has a third of the multiplications.
# So --amp with bfloat16 slows down MobileNets and EfficientNets on the very processors that have units for it. What to do:
# convert to float32 for these gradients, and put those of a wide kernel together from 3 x 3 parts.
# Output seen (milliseconds):
#   input gradient, stride 2: float32 0.2, bfloat16 8.2; kernel gradient: 3 x 3 0.1, 5 x 5 1.3, 5 x 5 bfloat16 4.1
# Fails if the ratios are below 4, 5 and 1.5, or if the processor has no such units and there is nothing to see.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import statistics
import time

import torch

if not torch.cpu.get_capabilities().get('avx512_bf16'):
    raise SystemExit('this processor does not multiply bfloat16: nothing to see')
torch.manual_seed(0)


def milliseconds(dtype, channels, size, kernel, stride, wanted):
    x = torch.randn(2, channels, *size).to(dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, 1, kernel, kernel).to(dtype)
    out = torch.nn.functional.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=channels)
    grad, times = torch.randn_like(out), []
    for _ in range(25):
        begin = time.process_time()
        torch.ops.aten.convolution_backward(grad, x, weight, None, (stride, stride), (kernel // 2, ) * 2, (1, 1), False,
                                            (0, 0), channels, wanted)
        times.append(1000 * (time.process_time() - begin))
    return statistics.median(times[5:])


INPUT, KERNEL = (True, False, False), (False, True, False)
strided = [milliseconds(dtype, 96, (64, 128), 3, 2, INPUT) for dtype in (torch.float32, torch.bfloat16)]
small = milliseconds(torch.float32, 480, (8, 16), 3, 1, KERNEL)
wide = [milliseconds(dtype, 480, (8, 16), 5, 1, KERNEL) for dtype in (torch.float32, torch.bfloat16)]
print(f'input gradient, stride 2: float32 {strided[0]:.1f}, bfloat16 {strided[1]:.1f}; kernel gradient: 3 x 3 {small:.1f}, '
      f'5 x 5 {wide[0]:.1f}, 5 x 5 bfloat16 {wide[1]:.1f}')
assert strided[1] > 4 * strided[0], 'the input gradient in bfloat16 is fast now'
assert wide[0] > 5 * small, 'the gradient of a kernel of 5 x 5 is fast now'
assert wide[1] > 1.5 * wide[0], 'the gradient of a kernel of 5 x 5 in bfloat16 is as fast as in float32 now'
PYTHON
