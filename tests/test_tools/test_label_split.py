"""Lists of labelled images for training with few labels."""
import importlib.util

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from shell_commands import ROOT

CONFIGS = ROOT / 'configs/several_domains'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('label_split', ROOT / 'tools/dataset_converters/label_split.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(tool, monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setattr('sys.argv', ['label_split.py', *map(str, arguments)])
    tool.main()
    return capsys.readouterr().out


@pytest.mark.parametrize('share, count', [('1/8', 5), ('0.5', 20), ('1/1000', 1), ('1', 40)])
def test_a_share_of_the_names(tool, share, count):
    names = [f'{place:02}' for place in range(40)]
    chosen = tool.choose(names, share, 0)
    assert len(chosen) == count and chosen == sorted(set(chosen)) and set(chosen) <= set(names)
    assert chosen == tool.choose(names, share, 0) and (count in (1, 40) or chosen != tool.choose(names, share, 1))


@pytest.mark.parametrize('share', ['0', '-1/2', '2', 'half', '1/0', 'nan'])
def test_no_share(tool, share):
    with pytest.raises(ValueError, match=f'--share {share}: give a number above 0 up to 1'):
        tool.choose(['a'], share, 0)


def test_list_is_read_by_the_config(tool, tmp_path, monkeypatch, capsys):
    images = tmp_path / 'data/cityscapes/leftImg8bit/train'
    for city in 'ab':
        for place in range(8):
            (images / city).mkdir(parents=True, exist_ok=True)
            (images / city / f'{place}_leftImg8bit.png').touch()
    monkeypatch.chdir(tmp_path)
    out = call(tool, monkeypatch, capsys, images, '--suffix', '_leftImg8bit.png', '--labelled',
               'data/cityscapes/labelled_1-8_0.txt')
    assert out == '2 of 16 images are in data/cityscapes/labelled_1-8_0.txt\n'
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIGS / 'dacs_mit-b5_1xb2-40k_cityscapes-1-8-512x512.py')
    dataset = DATASETS.build(config.train_dataloader.dataset.source)
    listed = (tmp_path / 'data/cityscapes/labelled_1-8_0.txt').read_text().split()
    infos = [dataset.get_data_info(place) for place in range(len(dataset))]
    assert [info['img_path'] for info in infos] == [f'data/cityscapes/leftImg8bit/train/{name}_leftImg8bit.png'
                                                   for name in listed]
    assert all(info['seg_map_path'].endswith('_gtFine_labelTrainIds.png') for info in infos)


def test_folder_without_images(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['label_split.py', str(tmp_path), '--labelled', str(tmp_path / 'x.txt')])
    with pytest.raises(SystemExit):
        tool.main()
    assert not (tmp_path / 'x.txt').exists()
