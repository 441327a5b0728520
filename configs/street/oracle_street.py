# Upper bound: labelled target images alone.
_base_ = ['./source_only_street.py']

train_dataloader = dict(dataset=dict(source=dict(data_root='data/street/target')))
