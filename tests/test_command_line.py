"""Configs that cannot be read and options that nothing reads end a program with code 2 and one line."""
import argparse
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_cicld.command_line import read_config
from mmseg_cicld.config_keys import TRAINING_KEYS, check_training_keys

ROOT = Path(__file__).parents[1]


@pytest.fixture
def refusal(capsys):
    """Reads a config that has to be refused, and returns the line."""
    def refuse(path: Path, options: dict | None = None, **kwargs) -> str:
        with pytest.raises(SystemExit) as ended:
            read_config(argparse.ArgumentParser('tool'), str(path), options or {}, **kwargs)
        assert ended.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return refuse


@pytest.mark.parametrize('text, named', [
    ('x = 1\ny = undefined\n', "config.py, line 2: NameError: name 'undefined' is not defined"),
    ('x = 1\ny = dict(a=1\n', "config.py, line 2: '(' was never closed"),
    ("_base_ = ['./gone.py']\n", 'gone.py'),
    ("custom_imports = dict(imports=['no_such_module'])\n", 'no_such_module'),
    ("_base_ = ['./base.py']\na = dict(b=1)\n", 'a is a dict in the child config'),
    ("_base_ = ['./broken.py']\n", "broken.py, line 1: ZeroDivisionError: division by zero"),
])
def test_what_is_wrong_with_a_config_is_a_line(tmp_path, refusal, text, named):
    (tmp_path / 'base.py').write_text('a = 3\n')
    (tmp_path / 'broken.py').write_text('a = 1 / 0\n')
    (tmp_path / 'config.py').write_text(text)
    line = refusal(tmp_path / 'config.py')
    assert line.startswith('tool: error: cannot read the config: ') and named in line


def test_a_fault_of_an_imported_module_keeps_its_stack(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'extension_with_fault.py').write_text('1 / 0\n')
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['extension_with_fault'])\n")
    with pytest.raises(ZeroDivisionError):
        read_config(argparse.ArgumentParser(), str(tmp_path / 'config.py'), {})


@pytest.mark.parametrize('option, named', [
    ('modle.x', "'modle' is no key of the config and nothing reads it; did you mean 'model'?"),
    ('seed', "'seed' is no key of the config"),
    ('model.0.x', 'model'),
    ('hooks.9.interval', 'Index 9 exceeds the length'),
])
def test_options_that_nothing_reads_are_refused(tmp_path, refusal, option, named):
    (tmp_path / 'config.py').write_text('model = 3\nhooks = [dict(interval=1)]\n')
    assert named in refusal(tmp_path / 'config.py', {option: 1})


def test_options_may_set_what_the_config_leaves_out(tmp_path):
    (tmp_path / 'config.py').write_text('model = dict(a=1)\n')
    for key in ('load_from', 'randomness.seed', 'compile', 'allow_changed_resume', 'model.b'):
        assert read_config(argparse.ArgumentParser(), str(tmp_path / 'config.py'), {key: 1}).to_dict()
    config = read_config(argparse.ArgumentParser(), str(tmp_path / 'config.py'), {'tile.size': 1}, known=['tile'])
    assert config.tile.size == 1


@pytest.mark.parametrize('key, meant', [('optim_wraper', 'optim_wrapper'), ('load_form', 'load_from'),
                                        ('train_dataloaders', 'train_dataloader'), ('custom_hook', 'custom_hooks')])
def test_misspelt_keys_of_a_config_are_refused(key, meant):
    with pytest.raises(ValueError, match=f"the key '{key}', which nothing reads: is '{meant}' meant"):
        check_training_keys(Config({key: 1}))


@pytest.mark.parametrize('folder', ['cicld', 'dida', 'own_data', 'quickstart'])
def test_no_config_of_the_package_has_a_key_that_looks_misspelt(folder):
    check_training_keys(Config.fromfile(sorted((ROOT / 'configs' / folder).glob('*.py'))[0]))
    assert {'model', 'resume', 'allow_unsafe_checkpoints'} <= TRAINING_KEYS
