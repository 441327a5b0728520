"""Images alone: what is drawn follows from the key, labels are neither needed nor passed on."""
import pytest
import torch
from mmengine.config import Config
from tiny_datasets import PACK, folder_config, random_crops, write_folder

from mmseg_cicld.datasets import DrawKey, UnlabelledDataset, audit_train_datasets


def files(dataset: UnlabelledDataset, domain: str, positions: range, seed: int = 1) -> list[str]:
    return [dataset[DrawKey(seed, p)][domain]['data_samples'].img_path for p in positions]


def test_every_epoch_has_each_image_once_in_its_own_order(tmp_path):
    write_folder(tmp_path, 5, labelled=False)
    dataset = UnlabelledDataset(target=folder_config(tmp_path, labelled=False))
    epochs = [files(dataset, 'target', range(5 * n, 5 * n + 5)) for n in range(3)]
    assert all(len(set(epoch)) == 5 for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) == 3
    assert files(dataset, 'target', range(7, 9)) == epochs[1][2:4]
    assert files(dataset, 'target', range(5), seed=2) != epochs[0] and len(dataset) == 5


def test_crops_follow_from_the_key_alone(tmp_path):
    write_folder(tmp_path, 2, labelled=False)
    config = folder_config(tmp_path, labelled=False, pipeline=random_crops(labelled=False))
    one, other = UnlabelledDataset(target=config), UnlabelledDataset(target=config)
    images = [one[DrawKey(0, p)]['target']['inputs'] for p in range(4)]
    torch.manual_seed(5)
    assert all(torch.equal(other[DrawKey(0, p)]['target']['inputs'], images[p]) for p in (3, 1, 0, 2))
    assert not torch.equal(images[0], images[2])


def test_both_domains_without_labels(tmp_path):
    write_folder(tmp_path / 'a', 2, labelled=False)
    write_folder(tmp_path / 'b', 3)
    labelled = [dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly'), PACK]
    dataset = UnlabelledDataset(source=folder_config(tmp_path / 'a', labelled=False),
                                target=folder_config(tmp_path / 'b', pipeline=labelled))
    item = dataset[DrawKey(0, 0)]
    assert list(item) == ['source', 'target'] and len(dataset) == 3
    assert dataset.metainfo['classes'] == ['road', 'car', 'sign']  # of the target, for those who name them
    assert all('gt_sem_seg' not in sample['data_samples'] for sample in item.values())


def test_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match='neither train_dataloader.dataset.source nor .*target: set one, or both'):
        UnlabelledDataset()
    with pytest.raises(ValueError, match='is no folder: set data_root'):
        UnlabelledDataset(target=dict(type='FolderDataset', data_root=str(tmp_path / 'nowhere')))


def test_audit_looks_at_the_images(tmp_path):
    write_folder(tmp_path, 3, labelled=False)
    loader = dict(dataset=dict(type='UnlabelledDataset', target=folder_config(tmp_path, labelled=False)),
                  sampler=dict(type='KeyedInfiniteSampler'))
    reports = audit_train_datasets(Config(dict(train_dataloader=loader)))
    assert [(report.name, report.checked, report.class_names) for report in reports] == [('target', 3, ())]
    (tmp_path / 'images/001.png').write_bytes(b'damaged')
    with pytest.raises(ValueError, match='001.png'):
        audit_train_datasets(Config(dict(train_dataloader=loader)))
    with pytest.raises(ValueError, match='UnlabelledDataset is used with the sampler DefaultSampler'):
        audit_train_datasets(Config(dict(train_dataloader=dict(loader, sampler=dict(type='DefaultSampler')))))
