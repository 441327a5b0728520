"""A method that lives in code only: the code beside an old config, or where --code says, is looked at."""
from pathlib import Path

import old_configs as old
import pytest
from migration_helpers import run_tool

from mmseg_cicld.migration import OldConfigError, code_folder, find_code
from mmseg_cicld.migration.old_code import own_names

# The shape of the published files, with their names.
PUBLISHED = '''
from mmseg.core import add_prefix
from mmseg.models import UDA, build_segmentor
from mmseg.models.uda.uda_decorator import UDADecorator, get_module


@UDA.register_module()
class DACS(UDADecorator):

    def __init__(self, **cfg):
        super(DACS, self).__init__(**cfg)
        self.alpha = cfg['alpha']
        self.mask_mode = cfg.get('mask_mode', None)
        self.ema_model = build_segmentor(cfg['model'])

    def forward_train(self, img, img_metas, gt_semantic_seg, target_img, target_img_metas):
        clean_losses = self.get_model().forward_train(img, img_metas, gt_semantic_seg)
        clean_loss, log_vars = self._parse_losses(clean_losses)
        clean_loss.backward(retain_graph=False)
        return log_vars
'''
FORKS = {
    'class': ('class DACS(', 'class PrototypeBank:\n    pass\n\n\nclass DACS(', 'class PrototypeBank'),
    'function': ('    def forward_train', '    def rectify(self, p):\n        return p\n\n    def forward_train',
                 'function rectify'),
    'key': ("cfg.get('mask_mode', None)", "cfg.get('proto_weight', 1)", 'config key proto_weight'),
    'attribute': ('self.alpha =', 'self.beta = self.alpha =', 'attribute beta'),
    'import': ('import add_prefix', 'import add_prefix, sinkhorn', 'import sinkhorn'),
    'relative import': ('from mmseg.core', 'from .contrast import InfoNCE\nfrom mmseg.core', 'import InfoNCE'),
    'loss': ('clean_loss.backward(retain_graph=False)', 'clean_loss.backward()\n        proto_loss.backward()',
             'loss proto_loss'),
    'sum of losses': ('clean_loss.backward(retain_graph=False)', '(clean_loss + 0.1 * extra).backward()',
                      'loss clean_loss + 0.1 * extra'),
}


def write_program(folder: Path, code: str, prefix: str = '') -> tuple[Path, Path]:
    """Writes the tree of an old program; returns its config and the folder of its method."""
    uda = folder / 'program' / prefix / 'mmseg/models/uda'
    uda.mkdir(parents=True)
    (uda / '__init__.py').write_text('from mmseg.models.uda.dacs import DACS\n__all__ = ["DACS"]\n')
    (uda / 'dacs.py').write_text(code)
    configs = folder / 'program' / prefix / 'configs'
    return old.write_old(configs, 'dacs', 'gta_cityscapes_512', uda='dacs'), uda


def test_published_code_beside_a_config_adds_nothing(tmp_path):
    path, uda = write_program(tmp_path, PUBLISHED)
    assert find_code(path) == uda and own_names(uda) == {}
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 0, done.stdout
    assert 'meant is the published DACS of DAFormer, HRDA and MIC' in done.stdout
    assert f'{uda} has no name that the published code lacks' in done.stdout


@pytest.mark.parametrize('name', FORKS)
def test_what_a_fork_adds_in_code_is_found(name, tmp_path):
    published, changed, found = FORKS[name]
    assert published in PUBLISHED
    _, uda = write_program(tmp_path, PUBLISHED.replace(published, changed))
    assert own_names(uda) == {'dacs.py': [found]}


def test_a_method_in_code_only_is_refused_unless_the_published_one_is_wanted(tmp_path):
    path, uda = write_program(tmp_path, PUBLISHED.replace(*FORKS['loss'][:2]))
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 1 and not (tmp_path / 'new.py').exists()
    assert f'{uda / "dacs.py"} has what the published code lacks: loss proto_loss' in done.stdout
    assert '--published-method migrates the published one alone' in done.stdout
    done = run_tool(path, '-o', tmp_path / 'new.py', '--published-method')
    assert done.returncode == 0 and (tmp_path / 'new.py').exists()
    assert 'has what the published code lacks: loss proto_loss' in done.stdout


def test_without_code_the_report_says_what_is_meant_and_asks_for_it(tmp_path):
    path = old.write_old(tmp_path / 'alone', 'dacs', 'gta_cityscapes_512', uda='dacs')
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 0
    assert 'meant is the published DACS' in done.stdout and 'name its folder with --code DIR' in done.stdout
    _, uda = write_program(tmp_path, PUBLISHED.replace(*FORKS['key'][:2]), prefix='seg')
    done = run_tool(path, '-o', tmp_path / 'new.py', '--code', tmp_path / 'program')
    assert done.returncode == 1 and 'config key proto_weight' in done.stdout
    assert code_folder(uda) == code_folder(tmp_path / 'program/seg') == uda


def test_code_that_cannot_be_looked_at_is_named(tmp_path):
    with pytest.raises(OldConfigError, match='has no folder mmseg/models/uda with Python files'):
        code_folder(tmp_path)
    path, uda = write_program(tmp_path, "print 'Python 2'\n")
    assert 'text that is no Python 3' in own_names(uda)['dacs.py'][0]
    done = run_tool(path, '-o', tmp_path / 'new.py', '--code', tmp_path / 'nowhere')
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1


def test_training_on_the_source_alone_is_called_so(tmp_path):
    path = old.write_old(tmp_path, 'alone', 'gta_cityscapes_512', uda=None)
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 0 and 'meant is training on the source alone' in done.stdout
