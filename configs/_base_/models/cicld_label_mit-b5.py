# A latent of the label map is diffused, and the image latent stands beside it, as in current diffusion segmentation:
# prediction starts from noise alone.
_base_ = ['./cicld_mit-b5.py']

model = dict(decode_head=dict(
    diffused='label',
    scheduler=dict(prediction_type='v_prediction'),
    inference=dict(start=None)))
