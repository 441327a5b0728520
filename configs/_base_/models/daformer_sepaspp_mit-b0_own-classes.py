# The MiT-B0 DAFormer network for own data: the number of classes follows from the dataset.
_base_ = ['./daformer_sepaspp_mit-b0.py']
model = dict(decode_head=dict(num_classes=None))
