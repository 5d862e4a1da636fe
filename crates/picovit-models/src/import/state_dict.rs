//! Tensors of a file by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use picovit::image::MAX_EDGE;
use safetensors::{Dtype, SafeTensors};

use super::ImportError;
use super::layout::Layout;
use super::pytorch;
use crate::config::{ImageSize, ModelConfig};
use crate::export::{CONFIG, TOKEN_GRID};

/// A state dict as a file holds it.
#[derive(Debug)]
pub struct StateDict {
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
    /// Tensors by key, what the file puts in front of every key taken away.
    pub(super) tensors: BTreeMap<String, Entry>,
    /// That prefix.
    pub(super) prefix: String,
    /// Whether the weights expect blue first.
    pub(super) bgr: bool,
    /// Whether somebody said so.
    pub(super) told_bgr: bool,
    /// Shapes of tensors that lie beside the network in its own dictionary.
    pub(super) strangers: BTreeMap<String, Vec<usize>>,
    /// What else the file holds: other dictionaries, and their numbers of tensors.
    pub(super) others: BTreeMap<String, usize>,
    /// Configuration that an export of this crate notes.
    pub(super) config: Option<ModelConfig>,
    /// Tokens that the positional embedding was trained on, where it is told.
    pub(super) position_grid: Option<ImageSize>,
}

/// One tensor.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shape: Vec<usize>,
    /// Row-major values, or why there are none.
    pub(super) values: Result<Vec<f32>, String>,
}

impl StateDict {
    /// Reads a file: safetensors, or what `torch.save(model.state_dict())` writes, bare or below
    /// another key such as `state_dict` or `model`, with or without a prefix such as `module.`.
    ///
    /// # Errors
    /// If the file cannot be read, is neither, or has keys of no known network.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        Self::load(path, None)
    }

    /// The same for one of a file's dictionaries, as `state_dict_ema`. [`Self::open`] takes the one
    /// whose name is shortest.
    ///
    /// # Errors
    /// As [`Self::open`], and if there is no network below `key`.
    pub fn open_below(path: &Path, key: &str) -> Result<Self, ImportError> {
        Self::load(path, Some(key))
    }

    fn load(path: &Path, below: Option<&str>) -> Result<Self, ImportError> {
        let read = |source| ImportError::Read { path: path.into(), source };
        let no_checkpoint = |reason| ImportError::NotACheckpoint { path: path.into(), reason };
        let content = fs::read(path).map_err(read)?;
        let tensors = match is_safetensors(&content) {
            true => read_safetensors(&content),
            false => pytorch::read(&content),
        };
        let mut tensors = tensors.map_err(no_checkpoint)?;
        // Batches seen, and steps averaged; nothing depends on them.
        let counts = ["num_batches_tracked", "n_averaged"];
        tensors.retain(|key, _| !counts.contains(&key.rsplit('.').next().unwrap_or_default()));
        let inside = |key: &&String| match below {
            Some(below) => key.strip_prefix(below).is_some_and(|rest| rest.starts_with('.')),
            None => true,
        };
        let Some((layout, prefix)) = Layout::of(tensors.keys().filter(inside)) else {
            if let Some(below) = below {
                let (path, below) = (path.into(), below.into());
                let others = dictionaries(tensors.keys()).into_keys().collect();
                return Err(ImportError::NothingBelow { path, below, others });
            }
            let keys: Vec<_> = tensors.keys().take(3).map(String::as_str).collect();
            return Err(ImportError::UnknownLayout { path: path.into(), keys: keys.join(", ") });
        };
        let (own, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            tensors.into_iter().partition(|(key, _)| key.starts_with(&prefix));
        let own = own
            .into_iter()
            .map(|(key, entry)| (layout.without_module(&key[prefix.len()..]).to_owned(), entry));
        let own = own.collect();
        // `module.` may stand inside of a dictionary. Whoever names a network knows what lies beside it.
        let dictionary = match below {
            Some(_) => &prefix,
            None => &prefix[..prefix.find('.').map_or(0, |dot| dot + 1)],
        };
        let (strangers, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rest.into_iter().partition(|(key, _)| key.starts_with(dictionary));
        Ok(Self {
            path: path.into(),
            layout,
            tensors: own,
            prefix,
            bgr: layout.is_bgr(),
            told_bgr: false,
            strangers: strangers.into_iter().map(|(key, entry)| (key, entry.shape)).collect(),
            others: dictionaries(others.keys()),
            config: noted(&content, CONFIG).and_then(|text| serde_json::from_str(&text).ok()),
            position_grid: exported_grid(&content),
        })
    }

    /// What else the file holds, as `optimizer (312 tensors)`: other dictionaries, which are no
    /// part of the network.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let text = |(name, count): (&String, &usize)| match count {
            1 => format!("{name} (1 tensor)"),
            _ => format!("{name} ({count} tensors)"),
        };
        self.others.iter().map(text).collect()
    }

    /// Says which tokens, `height` by `width`, the positional embedding was trained on. If not
    /// told, by this or by an export of this crate, a square number of them is taken as a square.
    #[must_use]
    pub fn with_position_grid(mut self, grid: ImageSize) -> Self {
        self.position_grid = Some(grid);
        self
    }

    /// Says in which order the weights expect the image's channels: blue first, or red first. If
    /// not told, the layouts of ml-cvnets and Hugging Face are taken as blue first.
    #[must_use]
    pub fn with_bgr(mut self, bgr: bool) -> Self {
        self.bgr = bgr;
        self.told_bgr = true;
        self
    }
}

/// First parts of keys, and how many keys have them.
fn dictionaries<'a>(keys: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        let first = key.split('.').next().unwrap_or(key);
        *counts.entry(first.to_owned()).or_default() += 1;
    }
    counts
}

/// What [`export_checkpoint`](crate::export_checkpoint) notes under a key.
fn noted(content: &[u8], key: &str) -> Option<String> {
    let (_, header) = SafeTensors::read_metadata(content).ok()?;
    header.metadata().as_ref()?.get(key).cloned()
}

/// The grid of tokens that it notes.
fn exported_grid(content: &[u8]) -> Option<ImageSize> {
    let text = noted(content, TOKEN_GRID)?;
    let (height, width) = text.split_once('x')?;
    let grid = ImageSize { height: height.parse().ok()?, width: width.parse().ok()? };
    (grid.height.max(grid.width) <= MAX_EDGE).then_some(grid)
}

/// An eight-byte length, then JSON.
fn is_safetensors(content: &[u8]) -> bool {
    content.get(8) == Some(&b'{') && !pytorch::is_archive(content)
}

fn read_safetensors(content: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let file = SafeTensors::deserialize(content).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F64 => Ok(DType::F64),
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => Err(format!("holds {other:?}, must hold floats")),
        };
        let values = dtype.and_then(|dtype| {
            let shape = view.shape().to_vec();
            floats(TensorData::from_bytes_vec(view.data().to_vec(), shape, dtype))
        });
        (name.to_owned(), Entry { shape: view.shape().to_vec(), values })
    });
    Ok(tensors.collect())
}

/// # Errors
/// If a value is not finite.
pub(crate) fn floats(data: TensorData) -> Result<Vec<f32>, String> {
    let values: Vec<f32> = data.convert::<f32>().to_vec().map_err(|error| format!("{error:?}"))?;
    match values.iter().all(|v| v.is_finite()) {
        true => Ok(values),
        false => Err("holds values that are not finite".into()),
    }
}
