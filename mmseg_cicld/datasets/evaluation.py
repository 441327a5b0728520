"""Scores over part of the classes, and prediction files for test servers."""
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from .cityscapes_ids import LABEL_IDS
from .file_writing import write_png


@METRICS.register_module()
class SubsetIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` that also reports the mean IoU over parts of the classes.

    Predictions are made among all classes; a subset only says over which classes the IoU is averaged, as
    SYNTHIA -> Cityscapes results are reported over 16 and 13 classes.

    Args:
        subsets: Name of the score -> names of its classes.
        **kwargs: See ``IoUMetric``.

    Raises:
        ValueError: At evaluation, if a subset names a class that the dataset does not have.
    """

    def __init__(self, subsets: dict[str, Sequence[str]], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.subsets = subsets

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns the scores of ``IoUMetric`` and one for each subset, in percent with two decimals."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        classes = list(self.dataset_meta['classes'])
        intersect, union = (sum(result[i] for result in results).numpy().astype(np.float64) for i in (0, 1))
        with np.errstate(divide='ignore', invalid='ignore'):
            iou = intersect / union  # NaN for a class that neither labels nor predictions show, as in IoUMetric
        for name, members in self.subsets.items():
            unknown = [member for member in members if member not in classes]
            if unknown:
                raise ValueError(f'val_evaluator.subsets.{name} names {unknown}, which the dataset does not have. Its '
                                 f'classes: {classes}')
            chosen = iou[[classes.index(member) for member in members]]
            metrics[name] = float(np.round(np.nanmean(chosen) * 100, 2)) if not np.isnan(chosen).all() else np.nan
        logger: MMLogger = MMLogger.get_current_instance()
        logger.info('mean IoU of subsets: ' + ', '.join(f'{name} {metrics[name]:.2f}' for name in self.subsets))
        return metrics


@METRICS.register_module()
class DomainIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` for several targets in one data loader: scores of each, and of all together.

    With targets joined by ``WeightedConcatDataset`` or mmengine's ``ConcatDataset``::

        val_evaluator = dict(type='DomainIoUMetric', iou_metrics=['mIoU'],
                             domains=dict(acdc='data/acdc', darkzurich='data/dark_zurich'))

    gives ``acdc/mIoU``, ``darkzurich/mIoU`` and so on, beside ``mIoU`` over the pixels of all, and ``mean_mIoU``, the mean
    of the domains' ``mIoU``, which no large domain decides alone. A per-class table of each goes to the log.

    Args:
        domains: Name of each domain -> the folder that its images are in, as their paths begin.
        **kwargs: See ``IoUMetric``.

    Raises:
        ValueError: If there is no domain, or at evaluation an image is in no folder or in several.
    """

    def __init__(self, domains: dict[str, str], **kwargs: object) -> None:
        super().__init__(**kwargs)
        if not domains:
            raise ValueError("domains of DomainIoUMetric is empty: give dict(NAME='FOLDER OF ITS IMAGES', ...)")
        self.domains = {name: os.path.join(os.path.normpath(folder), '') for name, folder in domains.items()}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of one batch."""
        for sample in data_samples:
            name, before = self._domain(sample['img_path']), len(self.results)
            super().process(data_batch, [sample])
            self.results[before:] = [(name, result) for result in self.results[before:]]

    def _domain(self, path: str) -> str:
        found = [name for name, folder in self.domains.items() if os.path.normpath(path).startswith(folder)]
        if len(found) != 1:
            raise ValueError(f'{path} is in {"several" if found else "none"} of the folders of val_evaluator.domains '
                             f'{self.domains}: give each domain the folder that holds its images and no others')
        return found[0]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns the scores of ``IoUMetric`` over all images, and with the name of the domain before it over each."""
        if self.format_only:
            return super().compute_metrics([result for _, result in results])
        metrics: dict[str, float] = {}
        logger: MMLogger = MMLogger.get_current_instance()
        for name in self.domains:
            own = [result for domain, result in results if domain == name]
            if not own:
                raise ValueError(f'no image of val_dataloader is in {self.domains[name]}, the folder of the domain {name}: '
                                 'correct val_evaluator.domains')
            logger.info(f'domain {name}: {len(own)} images')
            metrics.update({f'{name}/{key}': value for key, value in super().compute_metrics(own).items()})
        mean = float(np.round(np.mean([metrics[f'{name}/mIoU'] for name in self.domains]), 2))
        logger.info('all domains')
        return {**super().compute_metrics([result for _, result in results]), 'mean_mIoU': mean, **metrics}


@METRICS.register_module()
class TestServerFormat(BaseMetric):
    """Writes predictions as a benchmark's test server wants them; needs no labels and gives no scores.

    One 8-bit PNG an image, of the image's size and with its name. The servers of ACDC and Dark Zurich take
    training ids, the one of Cityscapes its label ids. A config for the test images of ACDC, as an example::

        _base_ = 'CONFIG.py'
        test_dataloader = dict(dataset=dict(
            _delete_=True, type='ACDCDataset', data_root='data/acdc', data_prefix=dict(img_path='rgb_anon/test'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(960, 540), keep_ratio=True),
                      dict(type='PackSegInputs')]))
        test_evaluator = dict(_delete_=True, type='TestServerFormat', output_dir='work_dirs/labelTrainIds')

    Args:
        output_dir: Folder of the PNGs.
        ids: ``'train'`` for training ids, ``'label'`` for Cityscapes label ids.
        **kwargs: ``collect_device`` of ``BaseMetric``.

    Raises:
        ValueError: If ``ids`` is something else, or two images have the same file name.
    """

    def __init__(self, output_dir: str, ids: str = 'train', **kwargs: object) -> None:
        super().__init__(**kwargs)
        if ids not in ('train', 'label'):
            raise ValueError(f"ids={ids!r} of TestServerFormat: give 'train' (ACDC, Dark Zurich) or 'label' "
                             '(Cityscapes)')
        self.output_dir, self.ids = output_dir, ids
        os.makedirs(output_dir, exist_ok=True)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Writes the predictions of one batch."""
        for sample in data_samples:
            prediction_HW = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy().astype(np.uint8)
            if self.ids == 'label':
                self._check_classes(prediction_HW.max())
                prediction_HW = np.array(LABEL_IDS, np.uint8)[prediction_HW]
            name = os.path.splitext(os.path.basename(sample['img_path']))[0] + '.png'
            write_png(os.path.join(self.output_dir, name), prediction_HW)
            self.results.append(name)

    def _check_classes(self, highest: int) -> None:
        if highest >= len(LABEL_IDS):
            raise ValueError(f"ids='label' of TestServerFormat is for the {len(LABEL_IDS)} Cityscapes classes, but "
                             f"class {highest} was predicted: use ids='train'")

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Checks that every image has its own file."""
        twice = sorted(name for name, count in Counter(results).items() if count > 1)
        if twice:
            raise ValueError(f'several images have the same file name, so predictions overwrote each other in '
                             f'{self.output_dir}: {twice[:3]}. Predict one folder at a time')
        MMLogger.get_current_instance().info(f'{len(results)} predictions are in {self.output_dir}')
        return {}
