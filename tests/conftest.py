"""What all tests share: the helpers beside this file, registered modules, and repeatable arithmetic."""
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import mmseg_cicld  # noqa: E402, F401

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True, warn_only=True)
