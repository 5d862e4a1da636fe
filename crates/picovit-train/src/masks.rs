//! Dropout masks, drawn on the host.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use picovit_models::{BlockMasks, ModelConfig};

use crate::random::Random;

/// Draws the masks of all blocks for one batch.
pub(crate) fn draw<B: Backend>(
    config: &ModelConfig,
    batch: usize,
    random: &mut Random,
    device: &B::Device,
) -> Vec<BlockMasks<B>> {
    let cct = config.cct();
    let tokens = config.tokens();
    let blocks = (0..cct.layers).map(|block| {
        let attention = (cct.attention_dropout > 0.0).then(|| {
            let shape = [batch, cct.heads, tokens, tokens];
            let mask = random.mask(shape.iter().product(), cct.attention_dropout);
            Tensor::from_data(TensorData::new(mask, shape), device)
        });
        let rate = cct.drop_path(block);
        let paths = (rate > 0.0).then(|| {
            [(); 2].map(|()| {
                let mask = TensorData::new(random.mask(batch, rate), [batch, 1, 1]);
                Tensor::from_data(mask, device)
            })
        });
        BlockMasks { attention, paths }
    });
    blocks.collect()
}
