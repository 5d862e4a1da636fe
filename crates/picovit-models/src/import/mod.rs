//! Import of published state dicts.

mod detect;
pub(crate) mod layout;
mod pickle;
pub(crate) mod positions;
mod pytorch;
mod resample;
mod state_dict;
mod strided;
mod tensor_refs;

use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::tensor::backend::Backend;

pub use detect::smallest_alike;
pub use state_dict::StateDict;
pub(crate) use state_dict::floats;

use crate::config::{ConfigError, ImageSize, ModelConfig};
use crate::network::Network;
use crate::record::{self, RecordError};
use crate::weights::{ParameterKind, ParameterSpec, Parameters};

/// Why a state dict could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("cannot read {}; check that the path is right and that it may be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no checkpoint.
    #[error("{} is neither a safetensors file nor a PyTorch state dict: {reason}; if PyTorch can load it, save the weights alone: torch.save(ckpt['state_dict'], 'weights.pth'), or model.state_dict() of a whole model", .path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// The keys are those of no known network.
    #[error("{} holds the keys of no known network (the first are: {keys}); CCT, CVT and ViT-Lite are read as their authors name them, MobileViT as timm, Hugging Face and ml-cvnets do", .path.display())]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// Some of its keys.
        keys: String,
    },
    /// There is no network below a key.
    #[error("{} holds no known network below `{below}`; it has: {}", .path.display(), .others.join(", "))]
    NothingBelow {
        /// The file.
        path: PathBuf,
        /// The key that was asked for.
        below: String,
        /// First parts of the file's keys.
        others: Vec<String>,
    },
    /// The weights do not tell everything.
    #[error("{}: {problem}", .path.display())]
    Undetected {
        /// The file.
        path: PathBuf,
        /// What is not known and how to say it.
        problem: String,
    },
    /// The configuration describes no network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state dict belongs to another network.
    #[error("{} does not fit model `{model}`: {}; choose the model, image size, channels and classes the weights were trained with{}", .path.display(), .problems.join("; "), if *.others { "; --key takes another network of the file" } else { "" })]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Model of the configuration.
        model: String,
        /// Every key that is missing, unknown or of another shape.
        problems: Vec<String>,
        /// Whether the file holds more than one dictionary.
        others: bool,
    },
    /// The checkpoint could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What the weights of some networks do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Extent of the input image.
    pub image_size: Option<ImageSize>,
    /// Attention heads.
    pub heads: Option<usize>,
}

/// Imports a state dict and saves it as a checkpoint with its configuration beside it. Nothing
/// is written unless every key fits. Returns what was changed to make it fit.
///
/// # Errors
/// See [`ImportError`].
pub fn import_checkpoint(
    path: &Path,
    config: &ModelConfig,
    out: &Path,
) -> Result<Vec<String>, ImportError> {
    config.validate()?;
    StateDict::open(path)?.save(config, out)
}

/// Imports a state dict, see [`StateDict::open`].
///
/// # Errors
/// Lists every key that is missing, unknown or of another shape.
pub fn import_pth<B: Backend>(
    path: &Path,
    config: &ModelConfig,
    device: &B::Device,
) -> Result<Network<B>, ImportError> {
    config.validate()?;
    Ok(StateDict::open(path)?.network(config, device)?.0)
}

impl StateDict {
    /// The network of a configuration with the file's weights, and what was changed to make them
    /// fit: a positional embedding for another image size is resampled, channels that come blue
    /// first are turned around.
    ///
    /// # Errors
    /// Lists every key that is missing, unknown or of another shape.
    pub fn network<B: Backend>(
        &self,
        config: &ModelConfig,
        device: &B::Device,
    ) -> Result<(Network<B>, Vec<String>), ImportError> {
        config.validate()?;
        let mut notes = vec![];
        let parameters = self.parameters(config, &mut notes).map_err(|mut problems| {
            problems.sort();
            let (path, model) = (self.path.clone(), config.name.clone());
            let others = !self.others.is_empty() || !self.strangers.is_empty();
            ImportError::Mismatch { path, model, problems, others }
        })?;
        Ok((Network::from_parameters(config, parameters, device), notes))
    }

    /// Saves the network as a checkpoint with its configuration beside it. Nothing is written
    /// unless every key fits. Returns what was changed to make it fit.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn save(&self, config: &ModelConfig, out: &Path) -> Result<Vec<String>, ImportError> {
        let (model, notes) = self.network::<Flex>(config, &Default::default())?;
        record::save(&model, config, out)?;
        Ok(notes)
    }

    fn parameters(
        &self,
        config: &ModelConfig,
        notes: &mut Vec<String>,
    ) -> Result<Parameters, Vec<String>> {
        if !self.layout.names(&config.architecture) {
            let layout = self.layout;
            return Err(vec![format!("its keys are those of another family ({layout:?})")]);
        }
        let mut parameters = Parameters::default();
        let mut problems = vec![];
        let mut unknown: Vec<&String> = self.tensors.keys().collect();
        let specs = config.parameters();
        // The convolution that sees the image.
        let first = &specs[0].name;
        for spec in &specs {
            let source = self.layout.source(config, &spec.name);
            unknown.retain(|key| !source.keys().contains(key));
            let parts = source.keys().len();
            let mut values = Vec::with_capacity(spec.len());
            for key in source.keys() {
                let mut part = spec.clone();
                part.shape[0] /= parts;
                match self.read(key, &part, config, notes) {
                    Ok(mut part) => values.append(&mut part),
                    Err(problem) => problems.push(format!("{}{key} {problem}", self.prefix)),
                }
            }
            if values.len() != spec.len() {
                continue;
            }
            if self.bgr && spec.name == *first && config.channels == 3 {
                turn_channels(&mut values, spec);
                notes.push(self.turned().into());
            }
            parameters.insert(spec, values);
        }
        problems.extend(
            unknown.iter().map(|&key| {
                format!("{}{key} {:?} is unknown", self.prefix, self.tensors[key].shape)
            }),
        );
        let strangers = self.strangers.iter();
        problems.extend(strangers.map(|(key, shape)| format!("{key} {shape:?} is unknown")));
        if problems.is_empty() { Ok(parameters) } else { Err(problems) }
    }

    /// That the first convolution's channels were turned around, and why.
    fn turned(&self) -> &'static str {
        match self.told_bgr {
            true => "the weights expect blue first, as said; turned to red first",
            false => {
                "the weights are taken to expect blue first, as this layout's published ones do, and \
                 were turned to red first; if they were trained on red first, import them with \
                 --channel-order rgb"
            }
        }
    }

    fn read(
        &self,
        key: &str,
        spec: &ParameterSpec,
        config: &ModelConfig,
        notes: &mut Vec<String>,
    ) -> Result<Vec<f32>, String> {
        let shape = &spec.shape;
        let entry = self.tensors.get(key).ok_or_else(|| format!("{shape:?} is missing"))?;
        let values = entry.values.as_ref().map_err(Clone::clone)?;
        let found = &entry.shape;
        let learned =
            spec.kind.is_position() && spec.kind != (ParameterKind::Position { sine: true });
        if !learned && found == shape {
            return Ok(values.clone());
        }
        let positions = spec.kind.is_position()
            && matches!(found[..], [1, tokens, width] if tokens > 1 && width == shape[2]);
        if !positions {
            return Err(format!("is {found:?}, must be {shape:?}"));
        }
        let grid = config.architecture.token_grid(config.image_size).ok_or("has no grid")?;
        let tokens = found[1] - (shape[1] - grid.area()).min(found[1]);
        let edge = tokens.isqrt();
        let from = match self.position_grid {
            Some(from) if from.area() == tokens => from,
            Some(from) => {
                let remedy = "say which with --position-grid";
                return Err(format!("has {tokens} tokens, not {from}; {remedy}"));
            }
            None if edge * edge == tokens => ImageSize { height: edge, width: edge },
            None if found == shape => grid,
            None => {
                let problem = "whose tokens are no square; say which with --position-grid";
                return Err(format!("is {found:?}, {problem}"));
            }
        };
        Ok(positions::moved(key, values, spec, [from, grid], notes))
    }
}

/// Reverses the input channels of a convolution.
fn turn_channels(values: &mut [f32], spec: &ParameterSpec) {
    let area = spec.shape[2] * spec.shape[3];
    for filter in values.chunks_exact_mut(spec.shape[1] * area) {
        let (first, rest) = filter.split_at_mut(area);
        let last = rest.len() - area;
        first.swap_with_slice(&mut rest[last..]);
    }
}
