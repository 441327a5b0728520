"""Checkpoints of the published trainings become networks that predict the same, each tensor used once."""
import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import old_configs as old
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict
from mmseg.apis import init_model
from mmseg.registry import MODELS
from test_configs import SIZE, shrink

from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.engine.published_checkpoints import PublishedCheckpoint
from mmseg_cicld.migration import migrate, read_old_config
from mmseg_cicld.models.checkpoint_names import ours_to_reference

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/model_converters/published.py'
CONFIGS = {
    'daformer': 'daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
    'dlv2': 'dacs/dacs_r101-dlv2_1xb2-40k_gta2cityscapes-512x512',
    'hrda': 'hrda/hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024',
    'hrda-dlv2': 'hrda/hrda_r101-dlv2_1xb2-40k_gta2cityscapes-1024x1024',
    'mic-hrda': 'mic/mic-hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024',
}
B0 = """
model = dict(pretrained=None, backbone=dict(type='mit_b0'), decode_head=dict(in_channels=[32, 64, 160, 256]))
"""


@dataclass
class Done:
    """What a run of the program left: exit status, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Done]:
    """Runs the program within this process, which has imported everything already."""
    def call(*args: object) -> Done:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        code: int | str | None = 0
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            code = error.code
        written = capsys.readouterr()
        message = code if isinstance(code, str) else ''
        return Done(1 if message else code or 0, written.out, message or written.err)

    return call


def tiny(config: Config) -> torch.nn.Module:
    """Shrinks a config in place and builds its model with weights that are unlike their initialisation."""
    init_default_scope('mmseg')
    shrink(config.model.segmentor)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    return model.eval()


def written(folder: Path, method: str) -> tuple[Path, torch.nn.Module]:
    """Writes a tiny config; returns it and its model."""
    config = Config.fromfile(ROOT / f'configs/{CONFIGS[method]}.py')
    model = tiny(config)
    config.dump(folder / 'config.py')
    return folder / 'config.py', model


def published(model: torch.nn.Module, module: str = '') -> dict[str, torch.Tensor]:
    """Returns what the published program would have saved of a model, with all that a MIC training has beside it."""
    student = ours_to_reference(model.student.state_dict())
    state = {f'model.{module}{name}': tensor for name, tensor in student.items()}
    for prefix, shift in (('ema_model', 1), ('imnet_model', 2), ('mic.teacher.ema_model', 3)):
        state |= {f'{prefix}.{module}{name}': tensor + shift for name, tensor in student.items()}
    return state | {'model_D.main.conv1.weight': torch.zeros(64, 19, 4, 4)}


def save(path: Path, state: dict) -> Path:
    meta = dict(iter=40000, CLASSES=['road'], PALETTE=[[i, i, i] for i in range(19)])
    torch.save(dict(meta=meta, state_dict=state, optimizer=dict(state={})), path)
    return path


@pytest.mark.parametrize(('method', 'module'), [*((method, '') for method in CONFIGS), ('daformer', 'module.')])
def test_student_predicts_the_same_in_mmseg(method, module, run, tmp_path):
    config, model = written(tmp_path, method)
    done = run(config, save(tmp_path / 'published.pth', published(model, module)), tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    count = len(ours_to_reference(model.student.state_dict()))
    for line in (f'student: {count} tensors, each used once', f'teacher: {count} tensors, left out',
                 f'teacher of masked consistency: {count} tensors, left out', 'discriminator: 1 tensors, left out',
                 f'frozen ImageNet network of the feature distance: {count} tensors, left out'):
        assert line in done.stdout.splitlines()
    out = tmp_path / 'out'
    plain = init_model(Config.fromfile(out / 'segmentor.py'), str(out / 'segmentor.pth'), device='cpu')
    assert plain.dataset_meta['palette'][3] == [3, 3, 3] and plain.dataset_meta['classes'][0] == 'road'
    images = torch.randn(1, 3, *SIZE)
    # mmseg's norm layers use 1e-6 where the published network has 1e-5.
    torch.testing.assert_close(plain(images), model.student(images), rtol=2e-3, atol=2e-3)


def test_teacher_is_taken_if_asked_for(run, tmp_path):
    config, model = written(tmp_path, 'hrda')
    done = run(config, save(tmp_path / 'published.pth', published(model)), tmp_path / 'out', '--network', 'teacher')
    assert done.returncode == 0, done.stderr
    weights = torch.load(tmp_path / 'out/segmentor.pth', weights_only=True)['state_dict']
    assert all(torch.equal(weights[name], tensor + 1) for name, tensor in model.student.state_dict().items())


@pytest.mark.parametrize('method', ['mic-hrda', 'dlv2'])
def test_training_starts_from_it(method, run, tmp_path):
    config, model = written(tmp_path, method)
    done = run(config, save(tmp_path / 'published.pth', published(model)), tmp_path / 'out', '--to', 'training')
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / 'out/training.pth', weights_only=True)['state_dict']
    fresh = MODELS.build(Config.fromfile(config).model)
    load_state_dict(fresh, state, strict=False)
    assert not set(state) - set(fresh.state_dict())
    for name, tensor in model.student.state_dict().items():
        assert torch.equal(fresh.student.state_dict()[name], tensor)
        assert torch.equal(fresh.teacher.network.state_dict()[name], tensor + 1)


@pytest.mark.parametrize('kind', ['python', 'json'])
def test_old_config_says_which_network_it_is(kind, run, tmp_path):
    config = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=B0)
    if kind == 'json':
        config = old.write_legacy_json(tmp_path)
        content = json.loads(config.read_text())
        content['model'].update(pretrained=None, backbone=dict(type='mit_b0', ema_drop_path_rate=0))
        content['model']['decode_head']['in_channels'] = [32, 64, 160, 256]
        content['uda']['model'] = content['model']
        config.write_text(json.dumps(content))
    config_today = migrate(read_old_config(config)).config()
    segmentor = MODELS.build(config_today.model.segmentor)
    state = {f'model.{name}': tensor for name, tensor in ours_to_reference(segmentor.state_dict()).items()}
    done = run(config, save(tmp_path / 'published.pth', state), tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    weights = torch.load(tmp_path / 'out/segmentor.pth', weights_only=True)['state_dict']
    assert all(torch.equal(weights[name], tensor) for name, tensor in segmentor.state_dict().items())
    assert set(weights) == set(segmentor.state_dict())


def test_old_config_that_cannot_be_migrated_is_named(run, tmp_path):
    config = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body='uda = dict(my_switch=1)')
    done = run(config, tmp_path / 'published.pth', tmp_path / 'out')
    assert done.returncode == 1 and 'uda.my_switch (unknown key)' in done.stderr
    assert 'tools/misc/migrate_config.py' in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(('change', 'message'), [
    (lambda state: state.pop('model.decode_head.conv_seg.bias'), 'Missing key(s) in state_dict: "decode_head.conv_seg'),
    (lambda state: state.update({'model.decode_head.extra': torch.zeros(1)}), 'Unexpected key(s) in state_dict'),
    (lambda state: state.pop('model.backbone.block1.0.attn.kv.bias'), 'has backbone.block1.0.attn.q.bias but not'),
    (lambda state: state.update({'my_model.weight': torch.zeros(1)}),
     'belong to no network of the published trainings: my_model.weight'),
    (lambda state: state.update({'module.model.decode_head.conv_seg.bias': torch.zeros(19)}),
     'has two tensors decode_head.conv_seg.bias of the student'),
    (lambda state: state.update({'model.backbone.layers.0.2.bias': torch.zeros(8)}),
     'several tensors that are backbone.layers.0.2.bias today'),
    (lambda state: state.update({'model.decode_head.conv_seg.bias': torch.zeros(5)}), 'size mismatch'),
])
def test_every_tensor_has_its_place(change, message, run, tmp_path):
    config, model = written(tmp_path, 'daformer')
    state = published(model)
    change(state)
    done = run(config, save(tmp_path / 'published.pth', state), tmp_path / 'out')
    assert done.returncode == 1 and message in done.stderr and 'published.pth' in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / 'out').exists()


def test_tensors_of_a_fork_are_left_out_by_prefix_and_listed(run, tmp_path):
    config, model = written(tmp_path, 'daformer')
    extra = {'memory.bank': torch.zeros(4), 'memory.age': torch.zeros(1), 'step': torch.zeros(1),
             'model.decode_head.projector.weight': torch.zeros(2)}
    checkpoint = save(tmp_path / 'published.pth', published(model) | extra)
    done = run(config, checkpoint, tmp_path / 'out')
    assert done.returncode == 1 and 'Leave them out with --leave-out memory. step' in done.stderr
    done = run(config, checkpoint, tmp_path / 'out', '--leave-out', 'memory.', 'step', 'model.decode_head.projector.')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'tensors that start with memory.: 2 tensors, left out' in lines
    assert all(f'  {name}' in lines for name in extra)
    weights = torch.load(tmp_path / 'out/segmentor.pth', weights_only=True)['state_dict']
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.student.state_dict().items())
    done = run(config, checkpoint, tmp_path / 'out', '--leave-out', 'memory.', 'step', 'model.', 'memmory.')
    assert done.returncode == 1 and 'holds no student' in done.stderr
    with pytest.raises(CheckpointError, match="no tensor that starts with 'memmory.': correct --leave-out"):
        PublishedCheckpoint.of({'model.weight': torch.zeros(1)}, 'published.pth', ('memmory.', ))


def test_checkpoints_without_the_network_are_named():
    with pytest.raises(CheckpointError, match='holds no student of a published.*it has: student'):
        PublishedCheckpoint.of({'student.weight': torch.zeros(1)}, 'ours.pth')
    with pytest.raises(CheckpointError, match='holds no teacher; it has: student'):
        PublishedCheckpoint.of({'model.weight': torch.zeros(1)}, 'published.pth').network('teacher')


def test_one_network_and_all_of_them_exclude_each_other(run, tmp_path):
    done = run('config.py', 'published.pth', tmp_path, '--to', 'training', '--network', 'teacher')
    assert done.returncode == 2 and 'takes all networks' in done.stderr
