"""Datasets of both domains, the paired dataset, rare class sampling, and checks of data before training."""
from .benchmarks import ACDCDataset, GTADataset, SYNTHIADataset
from .class_count import check_num_classes, dataset_classes
from .evaluation import DomainIoUMetric, SubsetIoUMetric, TestServerFormat
from .file_reading import DataFileError
from .folder_dataset import FolderDataset
from .image_folder import ImageFolderDataset
from .label_audit import AuditReport, audit_dataset, audit_train_datasets
from .rare_class_sampling import RareClassSampling
from .transforms import LoadImageStrictly, LoadLabelStrictly, LoadPseudoLabelMargins, PackUDAInputs
from .uda_dataset import DrawKey, UDADataset
from .unlabelled_dataset import UnlabelledDataset
from .weighted_datasets import WeightedConcatDataset

__all__ = ['ACDCDataset', 'AuditReport', 'DataFileError', 'DomainIoUMetric', 'DrawKey', 'FolderDataset', 'GTADataset',
           'ImageFolderDataset', 'LoadImageStrictly', 'LoadLabelStrictly', 'LoadPseudoLabelMargins', 'PackUDAInputs',
           'RareClassSampling', 'SYNTHIADataset', 'SubsetIoUMetric', 'TestServerFormat', 'UDADataset',
           'UnlabelledDataset', 'WeightedConcatDataset', 'audit_dataset',
           'audit_train_datasets', 'check_num_classes', 'dataset_classes']
