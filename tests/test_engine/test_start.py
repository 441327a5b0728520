"""What a training leaves until it is used, so that it starts quickly, works as it always did when it is used."""
import numpy as np
from mmengine.config import Config
from mmengine.visualization import Visualizer
from shell_commands import python
from yapf.yapflib.yapf_api import FormatCode

from mmseg_cicld.mmengine_internals import figures_on_first_use, format_configs_once

OPTIMISER = '''
import sys
import torch
from torch import nn
import mmseg_cicld
from mmseg_cicld.mmengine_internals import compiler_not_loaded, figures_on_first_use
from mmengine.visualization import Visualizer
with compiler_not_loaded(), figures_on_first_use():
    optimizer = torch.optim.AdamW(nn.Linear(2, 3).parameters(), lr=0.5)
    Visualizer(vis_backends=[dict(type="LocalVisBackend", save_dir="out")]).add_config
print([name for name in ("torch._dynamo", "matplotlib.figure") if name in sys.modules])
assert [len(group["params"]) for group in optimizer.param_groups] == [2]
assert not hasattr(torch.optim.Optimizer.add_param_group.__wrapped__, "__dynamo_disable")
optimizer.add_param_group(dict(params=[nn.Parameter(torch.ones(1))]))
assert "torch._dynamo" in sys.modules and len(optimizer.param_groups) == 2
'''


def test_optimisers_and_visualizers_load_neither_compiler_nor_figures(tmp_path):
    assert python('-c', OPTIMISER, cwd=tmp_path).stdout.splitlines()[-1] == '[]'


def test_a_visualizer_draws_what_it_always_drew():
    image_HW3 = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    drawn = []
    for deferred in (False, True):
        if deferred:
            with figures_on_first_use():
                visualizer = Visualizer()
        else:
            visualizer = Visualizer()
        visualizer.set_image(image_HW3)
        visualizer.draw_bboxes(np.array([[5, 5, 30, 30]]), edge_colors='r').draw_texts('text', np.array([10, 10]))
        drawn.append((visualizer.get_image(), visualizer.dpi))
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert drawn[0][1] == drawn[1][1] and not np.array_equal(drawn[0][0], image_HW3)


def test_a_config_is_formatted_once_and_as_before(tmp_path, monkeypatch):
    from mmengine.config import config as module
    monkeypatch.setattr(module, 'FormatCode', FormatCode)  # a runner of another test may have been here
    config = Config(dict(a=1, b=[dict(type='X', names=('one', 'two') * 12)]))
    before = config.pretty_text
    format_configs_once()
    format_configs_once()
    calls = module.FormatCode.cache_info().misses
    assert config.pretty_text == config.pretty_text == before
    config.dump(tmp_path / 'config.py')
    assert (tmp_path / 'config.py').read_text() == before and module.FormatCode.cache_info().misses == calls + 1
    config.a = 2
    assert 'a = 2' in config.pretty_text
    assert Config.fromfile(tmp_path / 'config.py').b == config.b
