# The upper bound of the quick start: the source-only training with labelled target images in place of source images.
# Count their classes first: python tools/dataset_converters/rare_class_stats.py configs/quickstart/oracle_street.py
_base_ = ['./source_only_street.py']

train_dataloader = dict(dataset=dict(source=dict(data_root='data/street/target')))
