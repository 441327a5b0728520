# BLDA on DAFormer; crops have a sixteenth of the pixels of those of 512, so fewer make a class count;
# a ninth of them is looked at, which saves a second an iteration on a CPU.
_base_ = ['./daformer_street.py']
model = dict(objectives=_base_.model.objectives + [dict(type='BalancedLogits', min_pixels=50, warmup=50, samples=2048)])
