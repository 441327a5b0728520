# The network of VFM-UDA++ (Englert et al., 2025) on DINOv3 ViT-L/16: images keep their size.
# The weights are gated under the DINOv3 License: accept it at the hub page of the name below, then `hf auth login`.
_base_ = ['./vit-adapter_dinov2-large.py']

model = dict(
    backbone=dict(
        vit=dict(
            _delete_=True,
            model=dict(
                model_type='dinov3_vit',
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                num_register_tokens=4),
            weights='facebook/dinov3-vitl16-pretrain-lvd1689m')))
