//! Weights that need not be stored: made from the names of the tensors, as
//! `tests/reference/filled.py` makes them.

use std::collections::HashMap;
use std::path::Path;

use crc::{CRC_32_ISO_HDLC, Crc};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Values in [-1, 1) that depend on the name and their index alone.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(name.as_bytes());
    (0..count as u32).map(move |index| {
        let mut x = index.wrapping_mul(2_654_435_769).wrapping_add(seed);
        x ^= x >> 16;
        x = x.wrapping_mul(0x85EB_CA6B);
        x ^= x >> 13;
        x = x.wrapping_mul(0xC2B2_AE35);
        x ^= x >> 16;
        f64::from(x >> 8) / f64::from(1 << 23) - 1.0
    })
}

/// The values of a tensor of a state dict.
pub fn fill(name: &str, shape: &[usize]) -> Vec<f32> {
    let vector = shape.len() == 1;
    let map = |u: f64| match name.rsplit_once('.').map_or(name, |(_, leaf)| leaf) {
        "running_var" => 1.0 + 0.5 * u,
        "running_mean" => 0.3 * u,
        "weight" if vector => 1.0 + 0.3 * u,
        _ if vector => 0.2 * u,
        _ => u * (4.0 / shape[1..].iter().product::<usize>() as f64).sqrt(),
    };
    uniform(name, shape.iter().product()).map(|u| map(u) as f32).collect()
}

/// Images in [0, 1), `[batch][channels][edge][edge]`.
pub fn images(batch: usize, channels: usize, edge: usize) -> Vec<f32> {
    uniform("images", batch * channels * edge * edge).map(|u| (u * 0.5 + 0.5) as f32).collect()
}

/// Writes tensors to a safetensors file.
pub fn write(path: &Path, tensors: &HashMap<String, (Vec<usize>, Vec<f32>)>) {
    let bytes = tensors.iter().map(|(name, (shape, values))| {
        (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    });
    let bytes: Vec<_> = bytes.collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
