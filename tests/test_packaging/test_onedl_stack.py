"""The maintained fork of the host packages: import and training, in an environment of its own."""
import subprocess
from pathlib import Path

import pytest
from shell_commands import ROOT, SHRUNK, onedl_environment, render_tiny_street, run

PYTHON = ROOT / '.venv-onedl' / 'bin' / 'python'
pytestmark = pytest.mark.timeout(600)  # the first run makes an environment


@pytest.fixture(scope='module', autouse=True)
def made() -> None:
    """The environment of the fork, which is made at the first run and kept."""
    onedl_environment()


def test_environment_holds_the_fork_alone():
    names = subprocess.run([PYTHON, '-m', 'pip', 'list', '--format=freeze'], text=True, capture_output=True,
                           check=True).stdout
    installed = {line.split('==')[0] for line in names.splitlines()}
    assert {'onedl-mmsegmentation', 'onedl-mmcv', 'onedl-mmengine'} <= installed
    assert not {'mmsegmentation', 'mmcv', 'mmcv-lite', 'mmengine'} & installed


def test_plain_operators_configs_and_networks_are_found(tmp_path: Path):
    (tmp_path / 'theirs.py').write_text("_base_ = ['mmseg::_base_/models/segformer_mit-b0.py']")
    (tmp_path / 'ours.py').write_text("_base_ = ['mmseg_cicld::quickstart/adapt_street.py']")
    code = '''
import mmseg_cicld
from mmengine.config import Config
from mmseg.registry import MODELS
from mmseg_cicld.models.backbones.deformable_attention import DeformableAttention
print(mmseg_cicld.compat.import_hosts(), Config.fromfile("theirs.py").model.type,
      type(MODELS.build(Config.fromfile("ours.py").model)).__name__)
'''
    done = run([PYTHON, '-W', 'ignore', '-c', code], cwd=tmp_path)
    # Its wheel has no compiled operators either: the deformable attention imports mmcv.ops over the stand-in.
    assert done.stdout.splitlines()[-1] == 'True EncoderDecoder UDAWrapper'


def test_stock_configs_of_the_fork_adapt(tmp_path: Path):
    code = '''
import math, sys
from pathlib import Path
import mmseg_cicld
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg_cicld.migration.stock_config import adapt_stock_config
sys.path.insert(0, sys.argv[1])
from stock_configs import CONFIGS, adapted_step, make_data, shrunk
init_default_scope("mmseg")
data = make_data(Path(sys.argv[2]))
for path in CONFIGS:
    log = adapted_step(Config(adapt_stock_config(shrunk(path, data), str(data / "target"), "mic_dacs")))[0]
    print(path, sorted({name.split(".")[0] for name in log if "." in name}), all(map(math.isfinite, log.values())))
'''
    done = run([PYTHON, '-W', 'ignore', '-c', code, ROOT / 'tests', tmp_path], cwd=tmp_path)
    steps = [line for line in done.stdout.splitlines() if line.endswith("['masked', 'mix', 'source'] True")]
    assert len(steps) == 6, done.stdout


def test_trains_saves_and_tests(tmp_path: Path):
    render_tiny_street(tmp_path)
    config = ROOT / 'configs/quickstart/adapt_street.py'
    run([PYTHON, '-W', 'ignore', ROOT / 'tools/train.py', config, '--work-dir', 'work', '--cfg-options', *SHRUNK],
        cwd=tmp_path)
    tested = run([PYTHON, '-W', 'ignore', ROOT / 'tools/test.py', config, 'work/iter_2.pth', '--work-dir', 'tested',
                  '--cfg-options', *SHRUNK], cwd=tmp_path)
    assert 'mIoU' in tested.stdout + tested.stderr
