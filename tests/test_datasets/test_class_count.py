"""num_classes follows from the dataset."""
import pytest
from mmengine.config import Config

from mmseg_cicld.datasets import check_num_classes, dataset_classes


def dataset(*classes: str, **kwargs) -> dict:
    return dict(type='FolderDataset', data_root='not there yet', metainfo=dict(classes=list(classes)), **kwargs)


def config(model: dict, train: dict | None = None, val: dict | None = None) -> Config:
    train = train or dict(type='UDADataset', source=dataset('a', 'b', 'c'), target=dict(type='FolderDataset'))
    return Config(dict(model=model, train_dataloader=dict(dataset=train),
                       val_dataloader=dict(dataset=val or dataset('a', 'b', 'c')), test_dataloader=None))


def test_heads_that_leave_it_out_are_filled():
    cfg = config(dict(type='EncoderDecoder', decode_head=dict(type='FCNHead'),
                      auxiliary_head=[dict(type='FCNHead'), dict(type='FCNHead', num_classes=3)]))
    assert check_num_classes(cfg) == 3
    assert cfg.model.decode_head.num_classes == 3
    assert [head.num_classes for head in cfg.model.auxiliary_head] == [3, 3]


def test_wrapped_segmentor():
    cfg = config(dict(type='ClassMixEMA', segmentor=dict(type='EncoderDecoder', decode_head=dict(num_classes=None))))
    check_num_classes(cfg)
    assert cfg.model.segmentor.decode_head.num_classes == 3


def test_contradiction_names_key_and_remedy():
    cfg = config(dict(type='ClassMixEMA', segmentor=dict(
        type='EncoderDecoder', decode_head=dict(num_classes=19), auxiliary_head=[dict(num_classes=19)])))
    with pytest.raises(ValueError, match=r'has 3 classes.*decode_head.num_classes=19.*--cfg-options '
                                         r'model.segmentor.decode_head.num_classes=3 '
                                         r'model.segmentor.auxiliary_head.0.num_classes=3'):
        check_num_classes(cfg)


def test_validation_with_other_classes_is_refused():
    with pytest.raises(ValueError, match='val_dataloader has .*same metainfo.classes'):
        check_num_classes(config(dict(), val=dataset('a', 'c', 'b')))


def test_no_classes_at_all():
    with pytest.raises(ValueError, match='has no classes'):
        check_num_classes(config(dict(), train=dict(type='FolderDataset'), val=dict(type='FolderDataset')))


def test_config_without_data():
    with pytest.raises(ValueError, match='no train_dataloader'):
        check_num_classes(Config(dict(model=dict())))


def test_a_dataset_without_a_type_is_named():
    for loader in (dict(dataset=dict(pipeline=[])), dict(batch_size=1)):
        with pytest.raises(ValueError, match="test_dataloader.dataset has no type: give one, such as type='FolderDataset'"):
            check_num_classes(Config(dict(model=dict(), test_dataloader=loader)))


def test_images_alone_need_no_classes():
    target = dict(type='FolderDataset', data_root='not there yet')
    cfg = Config(dict(model=dict(), train_dataloader=dict(dataset=dict(type='UnlabelledDataset', target=target))))
    assert check_num_classes(cfg) == 0


def test_unknown_dataset_type():
    with pytest.raises(ValueError, match='NoSuchDataset.*custom_imports'):
        check_num_classes(config(dict(), train=dict(type='NoSuchDataset')))


@pytest.mark.parametrize('wrapped', [
    dataset('a', 'b'),
    dict(type='ConcatDataset', datasets=[dataset('a', 'b'), dataset('a', 'b')]),
    dict(type='RepeatDataset', times=2, dataset=dataset('a', 'b')),
    dict(type='UDADataset', source=dict(type='ConcatDataset', datasets=[dataset('a', 'b')]))])
def test_classes_of_wrapped_datasets(wrapped):
    assert dataset_classes(wrapped) == ('a', 'b')


def test_classes_of_the_benchmarks():
    for name in ('GTADataset', 'SYNTHIADataset', 'CityscapesDataset', 'ACDCDataset', 'DarkZurichDataset'):
        classes = dataset_classes(dict(type=name, data_root='none', data_prefix=dict(img_path='none')))
        assert len(classes) == 19 and classes[13] == 'car'
