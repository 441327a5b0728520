"""The benchmark of loading, on tiny rendered images and on files that are there."""
import importlib.util
import json
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]
DAFORMER = ROOT / 'configs' / 'daformer' / 'daformer_mit-b0_1xb2-40k_gta2cityscapes-512x512.py'
FEW = ['--images', '2', '--size', '64', '48', '--draws', '2', '--cfg-options',
       'train_dataloader.dataset.rare_class_sampling.min_pixels=20']


@pytest.fixture
def run(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('benchmark_data', ROOT / 'tools' / 'analysis_tools' / 'benchmark_data.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*args: object) -> tuple[dict, str]:
        monkeypatch.setattr(sys, 'argv', ['benchmark_data', *map(str, args)])
        module.main()
        printed = capsys.readouterr().out
        end = printed.rindex('}') + 1
        return json.loads(printed[:end]), printed[end:].strip()
    return call


def test_synthetic_images(run, tmp_path):
    result, line = run(DAFORMER, '--synthetic', '--folder', tmp_path, *FEW)
    assert result['images_a_draw'] == dict(source=[3, 512, 512], target=[3, 512, 512])
    assert set(result['shares']) == {'decoding', 'resizing', 'cropping', 'sampling', 'rest'}
    assert all(0 < share < 1 for share in result['shares'].values())
    assert sum(result['shares'].values()) == pytest.approx(1, abs=0.01)
    assert line.startswith(f'{result["images_a_second_and_core"]} images a second and core')
    image = tmp_path / 'source0' / 'images' / '00000.png'
    assert cv2.imread(str(image)).shape == (48, 64, 3)
    assert (tmp_path / 'source0' / 'labels' / '00000_labelTrainIds.png').is_file()
    assert len(list((tmp_path / 'target0' / 'leftImg8bit' / 'train').glob('*_leftImg8bit.png'))) == 2
    before = image.stat().st_mtime_ns
    assert run(DAFORMER, '--synthetic', '--folder', tmp_path, *FEW)[0]['draws'] == 2
    assert image.stat().st_mtime_ns == before  # rendered once


def test_files_of_the_config(run, tmp_path):
    run(DAFORMER, '--synthetic', '--folder', tmp_path, *FEW)
    result, _ = run(DAFORMER, *FEW, f'train_dataloader.dataset.source.data_root={tmp_path}/source0',
                    f'train_dataloader.dataset.target.data_root={tmp_path}/target0')
    assert result['synthetic'] is False and result['milliseconds_a_draw']['mean'] > 0


def test_own_data_without_its_files(run):
    result, _ = run(ROOT / 'configs' / 'own_data' / 'dacs_mit-b0_1xb2-40k_own-512x512.py', '--synthetic', *FEW[:7])
    assert set(result['images_a_draw']) == {'source', 'target'}


def test_mistakes(run):
    with pytest.raises(ValueError, match='--draws 0: give 1 or more'):
        run(DAFORMER, '--synthetic', '--draws', 0)
    with pytest.raises(SystemExit, match='no class has more than min_pixels=3000'):
        run(DAFORMER, '--synthetic', '--images', 1, '--size', 40, 32)
