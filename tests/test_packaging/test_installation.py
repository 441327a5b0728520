"""The wheel and the source distribution hold everything, and work without the source tree."""
import json
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from shell_commands import ROOT, environment, run

PARTS = ('.mim', 'mmseg_cicld', 'configs', 'tools', 'requirements', 'docker')
REPORT = '''
import json
import mmseg_cicld
from mmengine.config import Config
from mmseg.registry import MODELS
print(json.dumps(dict(file=mmseg_cicld.__file__, model=Config.fromfile("user.py").model.type,
                      registered=sorted(k for k, v in MODELS.module_dict.items() if v.__module__.startswith("mmseg_c")))))
'''


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree, since building leaves files in it."""
    folder = tmp_path_factory.mktemp('source')
    for part in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(part, folder)
    for part in PARTS[1:]:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    return folder


def _wheel(source: Path, folder: Path) -> Path:
    run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder, source],
        cwd=folder, env=environment())
    return next(folder.glob('*.whl'))


@pytest.fixture(scope='module')
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source tree."""
    return _wheel(source, tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel has been installed, with the dependencies at hand.

    A .pth file lends it the dependencies of the environment of the tests. Editable installations are not lent: the
    .pth files that lead to them are read in their own environment only.
    """
    folder = tmp_path_factory.mktemp('clean')
    run([sys.executable, '-m', 'venv', '--without-pip', folder], cwd=folder)
    interpreter = folder / 'bin' / 'python'
    paths = sysconfig.get_paths(vars=dict(base=str(folder), platbase=str(folder)))
    site = Path(paths['purelib'])
    (site / 'dependencies.pth').write_text(sysconfig.get_paths()['purelib'])
    run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', site, wheel], cwd=folder)
    return interpreter


def _files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}


def test_wheel_holds_package_configs_and_tools(source, wheel):
    expected = {path.relative_to(source).as_posix() for path in (source / 'mmseg_cicld').rglob('*.py')}
    for part in ('configs', 'tools'):
        expected |= {f'mmseg_cicld/.mim/{path.relative_to(source)}' for path in (source / part).rglob('*')
                     if path.is_file()}
    expected |= {'mmseg_cicld/.mim/model-index.yml'}
    assert _files(wheel) == expected


def test_wheel_of_the_source_distribution_is_the_same(source, wheel, tmp_path):
    run([sys.executable, 'setup.py', '-q', 'sdist', '-d', tmp_path], cwd=source)
    from_sdist = _wheel(next(tmp_path.glob('*.tar.gz')), tmp_path)
    assert _files(from_sdist) == _files(wheel)


def test_requirements_leave_the_choice_of_the_host_packages(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith('METADATA'))).decode()
    needs = [line.removeprefix('Requires-Dist: ') for line in metadata.splitlines() if line.startswith('Requires-Dist')]
    always = ' '.join(need for need in needs if 'extra ==' not in need)
    assert 'torch' in always and 'diffusers' in always and 'mm' not in always
    for extra, name in (('openmmlab', 'mmcv-lite==2.1.0'), ('onedl', 'onedl-mmcv==2.3.6'), ('tests', 'pytest'),
                        ('foundation', 'transformers'), ('fast', 'imagecodecs')):
        assert any(need.startswith(name) and extra in need for need in needs), extra


def test_wheel_works_without_the_source_tree(clean_python, tmp_path):
    env = environment()
    del env['PYTHONPATH']
    (tmp_path / 'user.py').write_text("_base_ = ['mmseg_cicld::quickstart/adapt_street.py']")
    output = run([clean_python, '-W', 'ignore', '-c', REPORT], cwd=tmp_path, env=env).stdout
    report = json.loads(output.splitlines()[-1])
    assert Path(report['file']).is_relative_to(clean_python.parents[1])
    assert report['model'] == 'ClassMixEMA'
    assert {'ClassMixEMA', 'DAFormerHead', 'SourceSupervision', 'ClassMixSelfTraining'} <= set(report['registered'])
    tool = Path(report['file']).parent / '.mim' / 'tools' / 'misc' / 'print_config.py'
    printed = run([clean_python, '-W', 'ignore', tool, 'mmseg_cicld::quickstart/adapt_street.py', '--cfg-options',
                   'train_cfg.max_iters=7'], cwd=tmp_path, env=env).stdout
    assert 'max_iters=7' in printed and "type='ClassMixEMA'" in printed
