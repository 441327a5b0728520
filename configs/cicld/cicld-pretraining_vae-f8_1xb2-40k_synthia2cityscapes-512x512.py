# CICLD with an autoencoder's encoder, stage 1 of 4: the autoencoder, on images of SYNTHIA and Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/parts/autoencoder_f8_pretraining.py',
    '../_base_/datasets/synthia2cityscapes-512x512.py',
    '../_base_/schedules/adamw_poly_40k_autoencoder.py',
]
# There are no scores of an autoencoder.
val_dataloader = None
val_evaluator = None
val_cfg = None
