"""Images alone, of one domain or of both, drawn by key: for what learns without labels."""
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..random_streams import KeyedStreams, seeded_globals
from .domain import Domain, build_dataset, domain_folders
from .uda_dataset import DrawKey, KeyedOrder

DOMAINS = ('source', 'target')


@DATASETS.register_module()
class UnlabelledDataset(Dataset):
    """Gives for a :class:`DrawKey` one image of each domain; no domain needs labels, and those there are do not pass.

    Which file, crop and flip follows from the key alone, and every epoch goes through each domain once in its own new
    order, as in :class:`UDADataset`. Use it with the sampler ``KeyedInfiniteSampler``.

    Args:
        source: Config of a dataset, None to learn from the target alone.
        target: Config of a dataset, None to learn from the source alone.
        cache: Folder of decoded images, see :class:`UDADataset`.

    Raises:
        ValueError: If neither is given, or one is empty.
    """

    def __init__(self, source: dict | None = None, target: dict | None = None, cache: str | None = None) -> None:
        given = {name: config for name, config in zip(DOMAINS, (source, target)) if config is not None}
        if not given:
            raise ValueError('UnlabelledDataset has neither train_dataloader.dataset.source nor '
                             'train_dataloader.dataset.target: set one, or both')
        folders = domain_folders(cache)
        self.domains = {name: Domain(build_dataset(config, name), name, folders[name]) for name, config in given.items()}
        self._orders = {name: KeyedOrder(f'{name}_order', len(domain)) for name, domain in self.domains.items()}

    @property
    def metainfo(self) -> dict:
        """Classes and palette, as the target dataset has them, or else the source."""
        return list(self.domains.values())[-1].dataset.metainfo

    def __len__(self) -> int:
        return max(map(len, self.domains.values()))

    def __getitem__(self, key: DrawKey) -> dict:
        """Returns for each domain a dict of ``inputs`` (uint8 [3, H, W], BGR) and ``data_samples``.

        Args:
            key: What to draw.
        """
        streams, position = KeyedStreams(key[0]), key[1]
        return {name: self._sample(name, streams, position) for name in self.domains}

    def _sample(self, name: str, streams: KeyedStreams, position: int) -> dict:
        read = self.domains[name].reader(self._orders[name](streams, position))
        with seeded_globals(streams.integer(f'data.{name}_transforms', position)):
            sample = read().finish()
        if 'gt_sem_seg' in sample['data_samples']:
            del sample['data_samples'].gt_sem_seg
        return sample
