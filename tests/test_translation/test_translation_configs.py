"""Every config of a translation is one that the tools take."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from mmseg_cicld.engine.comparison import Comparison, training_config
from mmseg_cicld.engine.comparison_folder import folder_of
from mmseg_cicld.translation import SemanticGuidance, TranslationSettings
from mmseg_cicld.translation.progressive import ProgressiveSettings, fine_tuning
from mmseg_cicld.translation.run_settings import RunSettings

ROOT = Path(__file__).parents[2]
TRANSLATIONS = sorted([*(ROOT / 'configs/sgg').glob('translation_*.py'), *(ROOT / 'configs/street').glob('sgg_*.py'),
                       *(ROOT / 'configs/sgg').glob('progressive_*.py')])
PROGRESSIVE = [path for path in TRANSLATIONS if 'progressive' in path.stem]


def guide_of(path: Path, work_dir: Path) -> Config:
    """Reads the config of a guide, or makes that of the row of a comparison which trains it."""
    if path.parts[0] == 'configs':
        return Config.fromfile(ROOT / path)
    comparisons, seed = path.parents[2], 0
    rows = Comparison.from_file(ROOT / f'configs/street/comparisons/{comparisons.name}.py').rows
    row, = (row for row in rows if folder_of(comparisons, row.name, seed) == path.parent)
    return training_config(row, seed, work_dir, None)


@pytest.mark.parametrize('path', TRANSLATIONS, ids=lambda path: path.stem)
def test_translations(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = Config.fromfile(path)
    settings = RunSettings.from_config(config)
    assert TranslationSettings(**settings.translation).level > 0 and SemanticGuidance(**settings.guidance)
    assert DATASETS.get(settings.source['type']) is not None
    guide = guide_of(Path(settings.segmentor['config']), tmp_path)
    assert settings.segmentor['checkpoint'].endswith(f'iter_{guide.train_cfg.max_iters}.pth')
    assert guide.model.segmentor.decode_head.num_classes == (8 if 'texture' in path.stem else 19)
    assert MODELS.get(guide.model.segmentor.type) is not None
    # The command in the head of the file is the one for this file.
    assert str(path.relative_to(ROOT)) in path.read_text()


@pytest.mark.parametrize('path', PROGRESSIVE, ids=lambda path: path.stem)
def test_rounds(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = ProgressiveSettings.from_config(Config.fromfile(path))
    source = RunSettings.from_config(Config.fromfile(path)).source
    for each in settings.rounds[:-1]:
        training = fine_tuning(settings, each, Path('translated'), Path('start.pth'))
        assert training.train_cfg.max_iters == each.iterations
        assert each.iterations <= training.param_scheduler[-1].end <= each.iterations + 1
        assert training.train_dataloader.dataset.source.data_root == source['data_root']
    assert settings.rounds[-1].iterations == 0
