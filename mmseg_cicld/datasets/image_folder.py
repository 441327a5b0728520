"""Images with one class each, named by their folder, as ImageNet has them: for pre-training by classification."""
from pathlib import Path

from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..random_streams import KeyedStreams, seeded_globals
from .domain import Domain, build_dataset
from .uda_dataset import DrawKey, KeyedOrder


@DATASETS.register_module()
class ImageFolderDataset(Dataset):
    """Gives for a :class:`DrawKey` an image of ``data_root/CLASS/...``; its class is ``class_id`` of the data sample.

    Every epoch goes through all images once in its own new order. Use it with the sampler ``KeyedInfiniteSampler``.

    Args:
        data_root: Folder with a folder for each class.
        pipeline: Transforms, ``PackUDAInputs`` last.

    Raises:
        ValueError: If there are fewer than two folders, or no image.
    """

    def __init__(self, data_root: str, pipeline: list[dict]) -> None:
        root = Path(data_root)
        names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        if len(names) < 2:
            raise ValueError(f'train_dataloader.dataset.data_root={data_root} has {len(names)} folders: give one that has a '
                             'folder of images for each of two classes or more')
        self.root, self.metainfo = root, dict(classes=tuple(names))
        self._ids = {name: class_id for class_id, name in enumerate(names)}
        folders = dict(type='FolderDataset', data_root=str(root), data_prefix=dict(img_path=''), pipeline=pipeline,
                       metainfo=dict(classes=names))
        self._images = Domain(build_dataset(folders, 'training'), 'training')
        self._order = KeyedOrder('image_order', len(self._images))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: DrawKey) -> dict:
        """Returns ``inputs`` (uint8 [3, H, W], BGR) and ``data_samples`` with ``class_id``.

        Args:
            key: What to draw.
        """
        streams, position = KeyedStreams(key[0]), key[1]
        read = self._images.reader(self._order(streams, position))
        with seeded_globals(streams.integer('data.image_transforms', position)):
            sample = read().finish()
        path = Path(sample['data_samples'].img_path).relative_to(self.root)
        sample['data_samples'].set_metainfo(dict(class_id=self._ids[path.parts[0]]))
        return sample
