"""The parity fixtures of the published implementation, computed on the GPU: the comparisons of the tests, with all deviations."""
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope

from .processes import ROOT
from .records import Setting

UNEQUAL = 1e9  # a deviation where there is no tolerance


class Deviations:
    """Keeps how far numbers are apart, where a test would fail: in shares of the tolerance, and of the size of the number."""

    def __init__(self, as_array: Callable[[object], np.ndarray]) -> None:
        self._as_array = as_array
        self.kinds: dict[str, dict[str, float | str]] = {}
        self.compared = self.beyond = 0

    def __call__(self, kind: str, name: str, ours: object, theirs: object, rtol: float = 0.0, atol: float = 0.0) -> None:
        """Takes the place of the check of the tests."""
        one, other = (np.asarray(self._as_array(values), np.float64) for values in (ours, theirs))
        one, other = np.broadcast_arrays(one, other)
        both = ~(np.isnan(one) & np.isnan(other))  # recorded where a small tensor has no fifth value
        apart = np.nan_to_num(np.abs(one - other)[both], nan=np.inf, posinf=np.inf)
        allowed = atol + rtol * np.abs(other[both])
        share = np.where(apart == 0, 0.0, np.divide(apart, allowed, out=np.full_like(apart, UNEQUAL), where=allowed > 0))
        size = np.abs(other[both]).max(initial=0.0)
        self.compared += 1
        self.beyond += int(share.max(initial=0.0) > 1)
        found = dict(share=min(float(share.max(initial=0.0)), UNEQUAL), at=name,
                     relative=float(apart.max(initial=0.0) / size) if size else 0.0,
                     absolute=float(apart.max(initial=0.0)))
        kept = self.kinds.setdefault(kind, dict(found))
        if found['share'] > kept['share']:
            kept.update(share=found['share'], at=name)
        for key in ('relative', 'absolute'):
            kept[key] = max(kept[key], found[key])

    def figures(self) -> dict[str, float | str]:
        """Returns the largest deviations of each kind of number."""
        flat = {f'{kind}: {key}': value for kind, found in self.kinds.items() for key, value in found.items()}
        worst = max((found['share'] for found in self.kinds.values()), default=UNEQUAL)
        return dict(compared=self.compared, beyond_tolerance=self.beyond, worst_share_of_tolerance=worst, **flat)


def compare(setting: Setting, folder: Path, autocast: bool) -> dict[str, float | str]:
    """Compares forward passes and training steps with the recorded ones.

    Args:
        setting: Device; small: one network and the first step of one training.
        folder: Not used.
        autocast: Whether forward passes run in bfloat16, which is compared with the recorded float32.
    """
    sys.path.insert(0, str(ROOT / 'tests'))
    from parity_comparison import CASES, FORWARDS, Comparison, as_array, forward_deviations
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    kept = Deviations(as_array)
    init_default_scope('mmseg')
    for tag in ['b0_1'] if setting.small else FORWARDS:
        forward_deviations(tag, 'f32', setting.device, kept, autocast)
    for name in ['D2_daformer_mic_separate'] if setting.small else CASES:
        for _ in Comparison(name, 'f32', setting.device, kept, autocast).steps():
            if setting.small:
                break
    return kept.figures()
