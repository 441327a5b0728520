"""From an old config and checkpoint to a training and its score, with the programs as a user runs them."""
from pathlib import Path

import old_configs as old
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from shell_commands import ROOT, SHRUNK, preloaded, render_tiny_street

from mmseg_cicld.migration import migrate, read_old_config
from mmseg_cicld.models.checkpoint_names import ours_to_reference

STREET = '''
model = dict(pretrained=None, backbone=dict(type='mit_b0'), decode_head=dict(in_channels=[32, 64, 160, 256]))
data = dict(
    train=dict(source=dict(type='CityscapesDataset', data_root='data/street/source/', img_dir='leftImg8bit/train',
                           ann_dir='gtFine/train'),
               target=dict(data_root='data/street/target/')),
    val=dict(data_root='data/street/target/'),
    test=dict(data_root='data/street/target/'))
'''
MASK = f'uda = dict({old.MASK.format("separatetrgaug", 32)})\n'


def old_street(folder: Path) -> Path:
    """Writes an old config that trains on the street set."""
    path = old.write_old(folder, 'street', 'gta_cityscapes_512', body=STREET + MASK)
    data = folder / '_base_/datasets/uda_gta_cityscapes_512.py'
    text = data.read_text().replace('(512, 512)', '(128, 128)')
    data.write_text(text.replace('(1280, 720)', '(256, 128)').replace('(1024, 512)', '(256, 128)'))
    return path


def test_old_config_and_checkpoint_train_and_test(tmp_path):
    render_tiny_street(tmp_path)
    path = old_street(tmp_path)
    preloaded(ROOT / 'tools/misc/migrate_config.py', path, '-o', 'new.py', cwd=tmp_path)
    init_default_scope('mmseg')
    segmentor = MODELS.build(migrate(read_old_config(path)).config().model.segmentor)
    published = {f'{prefix}.{name}': tensor for name, tensor in ours_to_reference(segmentor.state_dict()).items()
                 for prefix in ('model', 'ema_model')}
    torch.save(dict(state_dict=published), tmp_path / 'published.pth')
    preloaded(ROOT / 'tools/model_converters/published.py', path, 'published.pth', 'out', '--to', 'training',
              cwd=tmp_path)
    done = preloaded(ROOT / 'tools/train.py', 'new.py', '--work-dir', 'run', '--cfg-options',
                     'load_from=out/training.pth', 'default_hooks.logger.interval=1', *SHRUNK, cwd=tmp_path)
    assert 'Load checkpoint from out/training.pth' in done.stdout + done.stderr
    assert 'masked.decode.loss_ce' in done.stdout + done.stderr
    preloaded(ROOT / 'tools/model_converters/published.py', path, 'published.pth', 'plain', cwd=tmp_path)
    done = preloaded(ROOT / 'tools/test.py', 'plain/segmentor.py', 'plain/segmentor.pth', '--cfg-options',
                     'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False', cwd=tmp_path)
    assert 'mIoU' in done.stdout + done.stderr
