# The label map is diffused, with spread codes and the correction of their target (after FlowSeg).
_base_ = ['./cicld-stage1_street.py']

model = dict(segmentor=dict(decode_head=dict(
    diffused='label',
    scheduler=dict(prediction_type='v_prediction'),
    training=dict(class_codes='spread', correction=0.1),
    inference=dict(start=None))))
