"""The sampler whose n-th draw is known without the draws before it."""
from collections.abc import Iterator
from itertools import count

from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Dataset, Sampler

from ..datasets.uda_dataset import DrawKey


@DATA_SAMPLERS.register_module()
class KeyedInfiniteSampler(Sampler):
    """Yields endless keys, not indices: the dataset derives from a key which images to read and how to augment them.

    The n-th draw of a process is ``DrawKey(seed, n * world_size + rank)``. So the processes share one stream of
    positions, the number of workers does not matter, and a resumed run starts at any position at once.

    Args:
        dataset: The dataset that understands the keys; gives the sampler its nominal length.
        seed: Seed of the run. If None, all processes agree on a random one.
    """

    def __init__(self, dataset: Dataset, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else int(seed)
        self._first = 0

    def skip(self, n_local: int) -> None:
        """Makes every later iteration over the sampler begin at draw number ``n_local`` of this process."""
        if n_local < 0:
            raise ValueError(f'cannot skip {n_local} draws: give 0 or more')
        self._first = n_local

    def __iter__(self) -> Iterator[DrawKey]:
        for n in count(self._first):
            yield DrawKey(self.seed, n * self.world_size + self.rank)

    def __len__(self) -> int:
        return len(self.dataset)
