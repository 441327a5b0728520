"""Every repair of the host packages is applied where its fault is present, and only there."""
import os
import subprocess
from pathlib import Path

import preloaded_python
import pytest
from shell_commands import ROOT, environment, run

from mmseg_cicld import compat


def _python(text: str, folder: Path, **kwargs) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that has imported nothing but torch."""
    return run([preloaded_python.python('torch'), '-W', 'ignore', '-c', text], cwd=folder, **kwargs)


def _checks_all(code: str, folder: Path, *paths: Path) -> bool:
    """Runs code with assertions in a process, and tells whether it came to its end."""
    env = environment(PYTHONPATH=os.pathsep.join(map(str, [*paths, ROOT])))
    return _python(f'{code}print("checked")', folder, env=env).stdout.endswith('checked\n')


def _error(code: str, folder: Path, *paths: Path) -> str:
    """Runs code that has to fail and returns the last line on stderr."""
    env = environment(PYTHONPATH=os.pathsep.join(map(str, [*paths, ROOT])))
    return _python(code, folder, env=env, code=1).stderr.splitlines()[-1]


def _distribution(folder: Path, name: str) -> Path:
    info = folder / f'{name.replace("-", "_")}-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    return folder


def test_stand_in_makes_mmseg_importable_and_refuses_to_compute(tmp_path):
    code = '''
import sys
assert "mmcv" not in sys.modules
import mmseg_cicld
assert isinstance(sys.modules["mmcv._ext"], mmseg_cicld.compat.CompiledOpsStandIn)
import torch
from mmcv.ops import point_sample, roi_align
from mmengine.utils.dl_utils import mmcv_full_available
assert point_sample(torch.ones(1, 1, 4, 4), torch.full((1, 2, 2), 0.5)).tolist() == [[[1.0, 1.0]]]
assert not mmcv_full_available()
assert not mmseg_cicld.compat.replace_pkg_resources()
try:
    roi_align(torch.ones(1, 1, 4, 4), torch.zeros(1, 5), (2, 2))
except NotImplementedError as error:
    assert "roi_align_forward" in str(error)
else:
    raise AssertionError
'''
    assert _checks_all(code, tmp_path)


def test_fault_of_mmcv_lite_is_still_there(tmp_path):
    # If this fails, mmcv or mmseg has been repaired and the stand-in can go.
    assert "No module named 'mmcv._ext'" in _error('import mmseg.utils', tmp_path)


def test_operators_of_plain_torch_are_there_where_mmseg_does_without_them(tmp_path):
    code = f'''
import importlib.util, sys, types
sys.modules["mmseg.utils"] = types.ModuleType("mmseg.utils")  # onedl's mmseg has none that imports mmcv.ops
spec = importlib.util.spec_from_file_location("compat", {str(ROOT / "mmseg_cicld/compat.py")!r})
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
assert compat.import_hosts()
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
'''
    assert _checks_all(code, tmp_path)


def test_real_compiled_operators_are_left_alone(tmp_path):
    code = '''
import sys, types
real = sys.modules["mmcv._ext"] = types.ModuleType("mmcv._ext")
real.__getattr__ = lambda name: None
import mmseg_cicld
assert sys.modules["mmcv._ext"] is real
assert not mmseg_cicld.compat.import_hosts()
'''
    assert _checks_all(code, tmp_path)


@pytest.mark.parametrize('missing', ['mmseg', 'mmcv', 'mmengine', 'ftfy'])
def test_missing_host_package_names_both_ways_in_one_line(missing, tmp_path):
    line = _error(f'import sys; sys.modules["{missing}"] = None; import mmseg_cicld', tmp_path)
    assert line.startswith('ImportError: mmseg_cicld cannot import its host packages: ') and missing in line
    assert 'mmcv-lite==2.1.0' in line and 'onedl-mmcv==2.3.6' in line


def test_wrong_version_names_both_ways_in_one_line(tmp_path):
    line = _error('import mmcv; mmcv.__version__ = "2.2.0"; import mmseg_cicld', tmp_path)
    assert 'MMCV==2.2.0 is used but incompatible' in line and compat.TWO_WAYS in line


@pytest.mark.parametrize('other', ['onedl-mmsegmentation', 'onedl-mmcv', 'onedl-mmengine'])
def test_both_sets_in_one_environment_are_refused(other, tmp_path):
    line = _error('import mmseg_cicld', tmp_path, _distribution(tmp_path, other))
    assert 'is installed twice' in line and other in line and compat.TWO_WAYS in line


def test_missing_system_library_names_the_packages_of_the_system(tmp_path):
    message = 'libGL.so.1: cannot open shared object file: No such file or directory'
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({message!r})')
    line = _error('import mmseg_cicld', tmp_path, tmp_path)
    assert 'libGL.so.1' in line and 'apt-get install libgl1' in line and 'mmcv-lite' not in line


def test_two_ways_are_those_of_the_requirements():
    for name in ('openmmlab', 'onedl'):
        lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
        pins = [line.partition('#')[0].strip() for line in lines if '==' in line.partition('#')[0]]
        assert len(pins) == 3 and all(pin in compat.TWO_WAYS for pin in pins)


@pytest.mark.parametrize('hidden', ['', 'sys.modules["pkg_resources"] = None'], ids=['as_is', 'no_pkg_resources'])
def test_config_bases_of_packages_resolve(hidden, tmp_path):
    (tmp_path / 'ours.py').write_text("_base_ = ['mmseg_cicld::quickstart/adapt_street.py']")
    (tmp_path / 'theirs.py').write_text("_base_ = ['mmseg::_base_/models/segformer_mit-b0.py']")
    code = f'''
import sys
{hidden}
import mmseg_cicld
from mmengine.config import Config
from mmengine.hub import get_config
from mmseg.registry import MODELS
assert Config.fromfile("theirs.py").model.type == "EncoderDecoder"
cfg = Config.fromfile("ours.py")
assert MODELS.build(cfg.model).student.decode_head.num_classes == 19
assert get_config("mmseg_cicld::quickstart/adapt_street.py").model.type == "ClassMixEMA"
'''
    output = _python(code, tmp_path)
    assert 'not installed' not in output.stdout + output.stderr
    assert 'Failed to search registry' not in output.stdout + output.stderr


def test_stand_ins_for_pkg_resources_know_packages_and_their_folders():
    assert compat.is_installed('mmsegmentation') and compat.is_installed('mmseg') and not compat.is_installed('mmdet')
    assert Path(compat.get_installed_path('mmsegmentation'), 'registry').is_dir()
    assert Path(compat.get_installed_path('mmseg_cicld')) == ROOT / 'mmseg_cicld'
    with pytest.raises(ModuleNotFoundError, match='mmdet'):
        compat.get_installed_path('mmdet')


def test_transformers_waits_until_its_optimiser_is_asked_for(tmp_path):
    _distribution(tmp_path, 'transformers')
    (tmp_path / 'transformers.py').write_text('class Adafactor:\n    def __init__(self, *args, **kwargs):\n'
                                              '        self.args, self.kwargs = args, kwargs\n')
    code = '''
import sys
import mmseg_cicld
assert "transformers" not in sys.modules
from mmengine.registry import OPTIMIZERS
built = OPTIMIZERS.build(dict(type="Adafactor", params=[1], lr=0.1))
import transformers
assert type(built) is transformers.Adafactor and built.kwargs == dict(params=[1], lr=0.1)
'''
    assert _checks_all(code, tmp_path, tmp_path)


def test_a_program_that_has_loaded_transformers_keeps_it(tmp_path):
    code = '''
import sys, types
kept = sys.modules["transformers"] = types.ModuleType("transformers")
kept.Adafactor = type("Adafactor", (), {})
import mmseg_cicld
assert sys.modules["transformers"] is kept
from mmengine.registry import OPTIMIZERS
assert OPTIMIZERS.get("Adafactor") is kept.Adafactor
'''
    assert _checks_all(code, tmp_path)
