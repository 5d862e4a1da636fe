//! A batch, parted among devices.

use crate::batch::Batch;
use crate::masks::Masks;

/// What one device does of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shard {
    pub(crate) batch: Batch,
    pub(crate) masks: Masks,
    /// Share of the batch's images.
    pub(crate) share: f64,
}

/// Parts a batch into `parts` neighbouring parts of equal size, or nearly so.
///
/// # Panics
/// If there are more parts than images.
pub(crate) fn shards(mut batch: Batch, mut masks: Masks, parts: usize) -> Vec<Shard> {
    let images = batch.labels.len();
    assert!((1..=images).contains(&parts), "{images} images cannot be parted into {parts}");
    let mut shards = Vec::with_capacity(parts);
    for part in (1..parts).rev() {
        let first = images * part / parts;
        let masks = masks.split_off(first, batch.labels.len());
        let batch = batch.split_off(first);
        shards.push(Shard { share: batch.labels.len() as f64 / images as f64, batch, masks });
    }
    shards.push(Shard { share: batch.labels.len() as f64 / images as f64, batch, masks });
    shards.reverse();
    shards
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use picovit_models::{BlockMasks, ModelConfig};

    use super::*;
    use crate::masks;
    use crate::random::{Random, Stream};

    fn batch(images: usize) -> Batch {
        Batch {
            pixels: (0..images * 6).map(|i| i as u8).collect(),
            labels: (0..images).map(|i| i as u16).collect(),
            targets: (0..images * 2).map(|i| i as f32).collect(),
        }
    }

    /// Every mask of a block, flattened.
    fn values(masks: Masks) -> Vec<Vec<f32>> {
        let flat = |block: BlockMasks<Flex>| {
            let [first, second] = block.paths.map_or([None, None], |paths| paths.map(Some));
            let three = [first, second, block.attention_output, block.mlp_hidden, block.mlp_output];
            let mut all: Vec<_> = three.into_iter().flatten().map(|t| t.into_data()).collect();
            all.extend(block.attention.map(|t| t.into_data()));
            all.into_iter().map(|data| data.to_vec::<f32>().unwrap())
        };
        masks.into_tensors(&Default::default()).into_iter().flat_map(flat).collect()
    }

    #[test]
    fn parts_in_a_row_are_the_batch() {
        // MobileViT has several sequences an image, and drops values.
        for name in ["cct_2_3x2", "mobilevit_xxs"] {
            let mut config = ModelConfig::named(name).unwrap().with_image_size(64, 64);
            config.architecture.dropout_rates_mut().into_iter().for_each(|rate| *rate = 0.3);
            let whole = masks::draw(&config, 7, &mut Random::new(1, 2, Stream::Masks));
            let parts = shards(batch(7), whole.clone(), 3);
            let sizes: Vec<_> = parts.iter().map(|part| part.batch.labels.len()).collect();
            assert_eq!(sizes, [2, 2, 3]);
            assert!((parts.iter().map(|part| part.share).sum::<f64>() - 1.0).abs() < 1e-12);
            let mut joined = Batch { pixels: vec![], labels: vec![], targets: vec![] };
            let expected = values(whole);
            assert!(expected.len() > 2, "{name} drops too little for this test");
            let mut found = vec![vec![]; expected.len()];
            for part in parts {
                joined.pixels.extend(part.batch.pixels);
                joined.labels.extend(part.batch.labels);
                joined.targets.extend(part.batch.targets);
                for (found, part) in found.iter_mut().zip(values(part.masks)) {
                    found.extend(part);
                }
            }
            assert_eq!(joined, batch(7));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn one_part_is_the_batch_itself() {
        let config = ModelConfig::named("cct_2_3x2").unwrap();
        let masks = masks::draw(&config, 3, &mut Random::new(1, 2, Stream::Masks));
        let whole = Shard { batch: batch(3), masks: masks.clone(), share: 1.0 };
        assert_eq!(shards(batch(3), masks, 1), [whole]);
    }
}
