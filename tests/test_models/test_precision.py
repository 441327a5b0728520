"""The number format of autocast, by name and by processor."""
from unittest.mock import patch

import pytest
import torch

from mmseg_cicld.models.precision import autocast_dtype

CAPABILITIES = 'mmseg_cicld.models.precision._capabilities'


@pytest.mark.parametrize('name', ['avx512_bf16', 'amx_bf16', 'bf16', 'sve_bf16'])
@pytest.mark.parametrize('has', [True, False])
def test_auto_follows_the_units_of_the_processor(name, has):
    with patch(CAPABILITIES, lambda: {name: has}):
        assert autocast_dtype('auto', 'cpu') == (torch.bfloat16 if has else None)
        assert autocast_dtype('bfloat16', 'cpu') == torch.bfloat16


@pytest.mark.parametrize('has', [True, False])
def test_auto_asks_a_gpu_for_units_and_not_for_emulation(has):
    def supported(including_emulation=True):
        return has or including_emulation
    with patch('torch.cuda.is_bf16_supported', supported), patch(CAPABILITIES, dict):
        assert autocast_dtype('auto', 'cuda:0') == (torch.bfloat16 if has else None)


def test_other_devices_have_bfloat16():
    with patch(CAPABILITIES, dict):
        assert autocast_dtype('auto', 'mps') == torch.bfloat16


def test_other_formats_are_refused():
    with pytest.raises(ValueError, match="'float16', allowed are 'bfloat16' and 'auto'"):
        autocast_dtype('float16', 'cpu')
