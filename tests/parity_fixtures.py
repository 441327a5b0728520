"""The files in ``tests/data/parity`` and the segmentors that they were recorded with."""
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict

ROOT = Path(__file__).parents[1]
PARITY = ROOT / 'tests' / 'data' / 'parity'


class Fixture:
    """The numbers of one file in one precision.

    Args:
        name: File name without suffix.
        precision: ``'f64'`` or ``'f32'``. What is the same in both is stored once.
    """

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision = name, precision
        with np.load(PARITY / f'{name}.npz') as file:
            self.arrays = dict(file)
        self.config = json.loads(str(self.arrays['in/config_json']))
        self.dtype = torch.float64 if precision == 'f64' else torch.float32

    def __contains__(self, key: str) -> bool:
        return f'f32/{key}' in self.arrays or f'{self.precision}/{key}' in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        """Looks up a result."""
        own = f'{self.precision}/{key}'
        return self.arrays[own if own in self.arrays else f'f32/{key}']

    def given(self, key: str) -> np.ndarray | None:
        """Looks up an input or a recorded random choice, None if there is none."""
        return self.arrays.get(f'in/{key}')

    def results(self, prefix: str = '') -> list[str]:
        """Returns the names of all results that start so."""
        names = {key.split('/', 1)[1] for key in self.arrays if key.startswith(('f32/', f'{self.precision}/'))}
        return sorted(name for name in names if name.startswith(prefix))


def segmentor_config(kind: str, hrda: dict | None = None) -> ConfigDict:
    """Reads the config of a small network without ImageNet weights, dropout and drop path.

    Args:
        kind: ``'mit_b0'`` with the DAFormer head or ``'r50'`` with the DeepLabV2 head.
        hrda: ``hr_crop_size`` and keys of the HRDA head, None for the single-scale network.
    """
    single = dict(mit_b0='daformer_sepaspp_mit-b5', r50='deeplabv2red_r101-d8')[kind]
    config = Config.fromfile(ROOT / f'configs/_base_/models/{"hrda_" if hrda else ""}{single}.py').model
    config.backbone.init_cfg = None
    if kind == 'r50':
        config.pretrained = None
        config.backbone.depth = 50
    else:
        config.backbone.update(variant='b0', drop_path_rate=0.0)
        config.decode_head.update(in_channels=[32, 64, 160, 256], dropout_ratio=0.0)
    if hrda:
        config.hr_crop_size = tuple(hrda['hr_crop_size'])
        config.decode_head.update({key: value for key, value in hrda.items() if key != 'hr_crop_size'})
    return config
