# The upper bound: the source-only training with labelled target images in place of source images.
# Count their classes first: python tools/dataset_converters/rare_class_stats.py configs/quickstart/oracle_street.py
_base_ = ['../street/oracle_street.py']
