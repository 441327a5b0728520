"""tools/adapt.py --method source_free: a trained segmentor adapts to images alone; wrong combinations are one line."""
import shutil
import sys
from pathlib import Path

import mmseg
import pytest
import torch
from adapt_case import CLASSES, ITERATIONS, Finished, run, write_data
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.apis import init_model
from mmseg.registry import MODELS, RUNNERS

from mmseg_cicld.adapt.__main__ import check_data_options, check_model_options, closing_lines, main, make_parser
from mmseg_cicld.adapt.data_description import DataDescription, DataDescriptionError, described
from mmseg_cicld.adapt.evaluation import score
from mmseg_cicld.adapt.options import Options, OptionsChanged
from mmseg_cicld.adapt.report_stage import StageResult, _vanished_note
from mmseg_cicld.adapt.trained_model import model_classes, trained_scale
from mmseg_cicld.engine.checkpoint_reading import CheckpointError
from mmseg_cicld.engine.collapse_hook import CollapsedError
from mmseg_cicld.engine.exporting import plain_config, write_segmentor
from mmseg_cicld.uda.class_shares import START_BATCHES, ClassShares

ROOT = Path(__file__).parents[2]


def describe(root: Path, model: Path, config: Path | None = None, classes: Path | None = None) -> DataDescription:
    return described(None, root / 'target/images', model_classes(model, config, classes), None,
                     (root / 'val/images', root / 'val/labels'))


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported segmentor with random weights, as export_segmentor.py writes it."""
    config = Config.fromfile(ROOT / 'configs/_base_/models/segformer_efficientnet-lite0.py')
    config.model.decode_head.update(channels=16, num_classes=3)
    config.test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    torch.manual_seed(0)
    plain, folder = plain_config(config), tmp_path_factory.mktemp('trained') / 'segmentor'
    with DefaultScope.overwrite_default_scope('mmseg'):
        state = MODELS.build(plain.model).state_dict()
    write_segmentor(folder, plain, state, dict(classes=list(CLASSES)))
    return folder


@pytest.fixture(scope='module')
def adapted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """That segmentor, adapted to images without labels beside it."""
    root = write_data(tmp_path_factory.mktemp('free'))
    shutil.rmtree(root / 'source')
    data, options = describe(root, trained), Options(root / 'work', 'source_free', iterations=ITERATIONS, model=trained)
    summary, printed = run(options, data)
    return Finished(root, data, options, printed, summary)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


def test_stages_and_results(adapted: Finished):
    printed, folder = '\n'.join(adapted.printed), adapted.options.work_dir
    assert '[1/3] data' in printed and '[2/3] adaptation' in printed and '[3/3] evaluation' in printed
    files = ('summary.json', 'audit.txt', 'configs/adaptation.py', 'model/segmentor.pth', 'segmentor/segmentor.py',
             'report.html', f'adaptation/iter_{ITERATIONS}.pth')
    assert [name for name in files if not (folder / name).is_file()] == []
    assert not (folder / 'source_only').exists() and 'UnlabelledDataset' in (folder / 'configs/adaptation.py').read_text()
    rows = [(row['stage'], row['network']) for row in adapted.summary['networks']]
    assert rows[::2] == [('source_only', 'segmentor'), ('adaptation', 'student'), ('adaptation', 'teacher')]
    assert closing_lines(adapted.options, adapted.data, adapted.summary)[0].startswith('as given ')


def test_it_begins_with_the_weights_that_were_given_and_scores_them(adapted: Finished, trained: Path):
    folder = adapted.options.work_dir
    config = Config.fromfile(folder / 'configs/adaptation.py')
    assert config.load_from == str((folder / 'model/segmentor.pth').resolve())
    given, kept = (weights(path / 'segmentor.pth') for path in (trained, folder / 'model'))
    assert list(given) == list(kept) and all(torch.equal(given[name], kept[name]) for name in given)
    network = init_model(str(trained / 'segmentor.py'), str(trained / 'segmentor.pth'), device='cpu')
    assert adapted.summary['source_only_miou'] == pytest.approx(score(network, config.val_dataloader).miou)
    exported = weights(folder / 'segmentor/segmentor.pth')
    assert any(not torch.equal(given[name], exported[name]) for name in given)


def test_what_was_chosen_for_a_segmentor_that_is_trained(adapted: Finished):
    config = Config.fromfile(adapted.options.work_dir / 'configs/adaptation.py')
    assert [each.type for each in config.model.objectives] == ['TargetSelfTraining', 'MaskedConsistency', 'ClassBalance']
    assert config.model.objectives[0].threshold == 0.9 and config.custom_hooks[0].type == 'CollapseHook'
    assert config.optim_wrapper.optimizer.lr == pytest.approx(1e-3 / 6, rel=0.01)
    assert config.optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult == 1
    assert config.train_cfg.max_iters == ITERATIONS and 'source_pipeline' not in config


def test_the_plain_config_trains_the_same_and_a_second_run_does_nothing(adapted: Finished, tmp_path):
    config = Config.fromfile(adapted.options.work_dir / 'configs/adaptation.py')
    config.work_dir = str(tmp_path)
    RUNNERS.build(config).train()
    one, other = (weights(folder / f'iter_{ITERATIONS}.pth') for folder in (tmp_path, adapted.options.work_dir / 'adaptation'))
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
    assert run(adapted.options, adapted.data) == (adapted.summary, [])
    with pytest.raises(OptionsChanged, match='--method source_free'):
        run(Options(adapted.options.work_dir, 'dacs', iterations=ITERATIONS), adapted.data)


def test_a_stock_segmentor_of_mmseg_by_its_files(root, tmp_path):
    """Top-level data_preprocessor, synchronised norms and a Resize in the test pipeline, as in a clone of mmseg."""
    stock = Config.fromfile(Path(mmseg.__file__).parent / '.mim/configs/pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py')
    stock.model.backbone.update(init_cfg=None, base_channels=8, stem_channels=8)
    stock.model.update(pretrained=None, auxiliary_head=None)
    stock.model.decode_head.update(in_channels=64, channels=8, num_classes=3)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        stock.pop(key)
    stock.model.pop('data_preprocessor')
    stock.test_pipeline[1].scale = (64, 32)
    stock.dump(tmp_path / 'stock.py')
    meta = dict(dataset_meta=dict(classes=('road', 'car', 'sign'), palette=[[0, 0, 0], [9, 9, 9], [7, 7, 7]]))
    torch.save(dict(meta=meta, state_dict=MODELS.build(stock.model).state_dict()), tmp_path / 'epoch_3.pth')
    data = describe(root, tmp_path / 'epoch_3.pth', tmp_path / 'stock.py')
    assert data.classes == ('road', 'car', 'sign') and data.palette[1] == (9, 9, 9)
    options = Options(root / 'work', 'source_free', minutes=0.001, model=tmp_path / 'epoch_3.pth', config=tmp_path / 'stock.py')
    summary, _ = run(options, data)
    config = Config.fromfile(root / 'work/configs/adaptation.py')
    assert config.model.segmentor.data_preprocessor.mean == stock.data_preprocessor.mean
    assert config.target_pipeline[1].scale == (64, 32) and config.crop_size == (32, 64)
    assert summary['iterations'] == dict(source_only=0, adaptation=2) and summary['adapted_miou'] is not None


def refused(*arguments: object) -> str:
    """What the command line says of options, before anything is read."""
    parser = make_parser()
    parser.error = lambda message: (_ for _ in ()).throw(ValueError(message))
    args = parser.parse_args([*map(str, arguments), '--work-dir', 'work'])
    with pytest.raises(ValueError) as error:
        (check_model_options if args.method == 'source_free' else check_data_options)(parser, args)
        Options(args.work_dir, args.method, model=args.model, config=args.config)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_wrong_combinations_are_one_line():
    free, data = ('--method', 'source_free'), ('--source', 'a', 'b', '--classes', 'c')
    assert '--source names some: leave it away' in refused(*free, '--model', 'm', '--target', 't', '--source', 'a', 'b')
    assert '--data names some' in refused(*free, '--model', 'm', '--data', 'd.yaml')
    assert '--target missing' in refused(*free, '--model', 'm')
    assert '--model is missing: give a folder of export_segmentor.py' in refused(*free, '--target', 't')
    assert '--method daformer trains one from the source' in refused(*data, '--target', 't', '--model', 'm')
    assert '--config c.py belongs to a --model' in refused(*data, '--target', 't', '--config', 'c.py')


def test_a_model_that_is_not_there_or_has_other_classes(trained: Path, root, tmp_path, monkeypatch):
    segmentor = trained
    (tmp_path / 'two.txt').write_text('road\ncar\n')
    with pytest.raises(DataDescriptionError, match=r'has 2 classes \(road, car\), but .* was trained on 3 classes'):
        model_classes(segmentor, None, tmp_path / 'two.txt')
    bare = dict(state_dict=weights(segmentor / 'segmentor.pth'))
    torch.save(bare, tmp_path / 'bare.pth')
    with pytest.raises(DataDescriptionError, match='names no classes: give them with --classes'):
        model_classes(tmp_path / 'bare.pth', segmentor / 'segmentor.py', None)
    data = describe(root, tmp_path / 'bare.pth', segmentor / 'segmentor.py', tmp_path / 'two.txt')
    with pytest.raises(CheckpointError, match='has 3 classes, and 2 are named: correct --classes'):
        run(Options(root / 'work', 'source_free', iterations=2, model=tmp_path / 'bare.pth',
                    config=segmentor / 'segmentor.py'), data)
    monkeypatch.setattr(sys, 'argv', ['adapt.py', '--method', 'source_free', '--model', str(tmp_path), '--target',
                                      str(root / 'target/images'), '--config', 'none.py', '--work-dir', str(root / 'new')])
    (tmp_path / 'bare.pth').rename(tmp_path / 'iter_1.pth')
    with pytest.raises(SystemExit, match='^adapt: there is no config none.py: give it with --config$'):
        main()


@pytest.mark.parametrize(('steps', 'scale'), [
    ([], None), ([dict(type='Resize', scale=(64, 128), keep_ratio=True)], (128, 64)),
    ([dict(type='Resize', scale=96, keep_ratio=True)], (96, 96))])
def test_images_are_scaled_as_the_segmentor_was_tested(steps, scale):
    assert trained_scale(Config(dict(test_pipeline=[dict(type='LoadImageFromFile'), *steps]))) == scale


def test_other_ways_to_resize_are_refused():
    for step in (dict(type='Resize', scale=(9, 9)), dict(type='ResizeShortestEdge', scale=9, max_size=20)):
        with pytest.raises(DataDescriptionError, match="test_pipeline of the segmentor resizes by .*keep_ratio=True"):
            trained_scale(Config(dict(test_pipeline=[step])))


def test_a_collapse_ends_the_command_and_names_the_classes(adapted: Finished, monkeypatch, tmp_path):
    """The same command with pseudo-labels that lose their classes: what CollapseHook says is what the user reads."""
    options = Options(tmp_path / 'work', 'source_free', iterations=60, model=adapted.options.model)

    def lost(self: ClassShares) -> tuple[list[int], list[int]]:
        return [0, 1, 2], [1, 2]

    monkeypatch.setattr(ClassShares, 'vanished', lost)
    with pytest.raises(CollapsedError, match=r'lost 2 of the 3 classes .*\(car, sign\)'):
        run(options, adapted.data)
    assert not (tmp_path / 'work/summary.json').exists()


def test_classes_that_vanish_without_a_collapse_are_in_the_notes(tmp_path):
    shares = ClassShares(3)
    for batch in range(START_BATCHES + 200):
        shares.update(torch.tensor([[[0, 1, 2] if batch < START_BATCHES else [0, 1, 1]]]))
    state = {f'objectives.0.class_shares.{name}': value for name, value in shares.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'iter_1.pth')
    note = _vanished_note(StageResult(Config(), tmp_path / 'iter_1.pth', {}), ('road', 'car', 'sign'))
    assert note.startswith('the pseudo-labels have all but lost sign, which they showed at the start')
