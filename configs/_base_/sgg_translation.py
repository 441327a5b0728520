# SGG (Peng et al., ICCV 2023): labelled images translated to the look of Cityscapes, guided by their labels. Images are
# translated at the size at which they are trained on, in tiles of the size that the diffusion model has learned.
diffusion = 'work_dirs/target-diffusion_latent_1xb8-200k_cityscapes-512x1024/diffusion'
translation = dict(level=0.5, steps=50)
guidance = dict(local_scale=0.03, global_scale=0.03, order='alternate')
batch_size = 4
tile = dict(size=(512, 1024), overlap=128)
dtype = 'auto'  # bfloat16 on a device with units for it
report = dict(rows=8)
