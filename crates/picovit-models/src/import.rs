//! Import of the state dicts that the authors of CCT publish.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::tensor::backend::Backend;
use burn_store::TensorSnapshot;
use burn_store::pytorch::PytorchReader;

use crate::config::{ConfigError, ModelConfig};
use crate::network::Network;
use crate::record::{self, RecordError};
use crate::weights::{ParameterSpec, Parameters};

/// Why a state dict could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no PyTorch checkpoint.
    #[error("{} is not a PyTorch state dict: {reason}", .path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// The configuration describes no network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state dict belongs to another network.
    #[error("{} does not fit model `{model}`: {}; choose the model, image size, channels and classes the weights were trained with", .path.display(), .problems.join("; "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Model of the configuration.
        model: String,
        /// Every key that is missing, unknown or of another shape.
        problems: Vec<String>,
    },
    /// The checkpoint could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Imports a state dict and saves it as a checkpoint with its configuration beside it. Nothing
/// is written unless every key fits.
///
/// # Errors
/// See [`ImportError`].
pub fn import_checkpoint(path: &Path, config: &ModelConfig, out: &Path) -> Result<(), ImportError> {
    let model: Network<Flex> = import_pth(path, config, &Default::default())?;
    Ok(record::save(&model, config, out)?)
}

/// Imports a state dict: a `.pth` file as `torch.save(model.state_dict())` writes it, bare or
/// below `state_dict` or `model`, with or without the prefix `module.`.
///
/// # Errors
/// Lists every key that is missing, unknown or of another shape.
pub fn import_pth<B: Backend>(
    path: &Path,
    config: &ModelConfig,
    device: &B::Device,
) -> Result<Network<B>, ImportError> {
    config.validate()?;
    // The reader reports a missing file like a damaged one.
    std::fs::File::open(path).map_err(|source| ImportError::Read { path: path.into(), source })?;
    let reader = PytorchReader::new(path).map_err(|error| ImportError::NotACheckpoint {
        path: path.into(),
        reason: error.to_string(),
    })?;
    let parameters = collect(reader.into_tensors(), config).map_err(|mut problems| {
        problems.sort();
        ImportError::Mismatch { path: path.into(), model: config.name.clone(), problems }
    })?;
    Ok(Network::from_parameters(config, parameters, device))
}

/// What checkpoints put in front of every key.
const PREFIXES: [&str; 5] = ["", "module.", "state_dict.", "state_dict.module.", "model."];

fn collect(
    mut tensors: HashMap<String, TensorSnapshot>,
    config: &ModelConfig,
) -> Result<Parameters, Vec<String>> {
    let specs = config.parameters();
    let fits = |prefix: &&&str| {
        specs.iter().any(|spec| tensors.contains_key(&format!("{prefix}{}", key(&spec.name))))
    };
    let prefix = PREFIXES.iter().find(fits).copied().unwrap_or_default();
    let mut parameters = Parameters::default();
    let mut problems = vec![];
    for spec in &specs {
        let key = format!("{prefix}{}", key(&spec.name));
        match tensors.remove(&key) {
            None => problems.push(format!("{key} {:?} is missing", spec.shape)),
            Some(tensor) => match read(&tensor, spec) {
                Ok(values) => parameters.insert(spec, values),
                Err(problem) => problems.push(format!("{key} {problem}")),
            },
        }
    }
    let unknown = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
    problems.extend(unknown.map(|(name, t)| format!("{name} {} is unknown", shape(t))));
    if problems.is_empty() { Ok(parameters) } else { Err(problems) }
}

/// The authors' key of a parameter.
fn key(name: &str) -> String {
    if let Some((stage, parameter)) =
        name.strip_prefix("tokenizer.").and_then(|rest| rest.split_once('.'))
    {
        return format!("tokenizer.conv_layers.{stage}.0.{parameter}");
    }
    let name = name.replace(".qkv.", ".self_attn.qkv.").replace(".proj.", ".self_attn.proj.");
    format!("classifier.{name}")
}

fn shape(tensor: &TensorSnapshot) -> String {
    format!("{:?}", tensor.shape.as_slice())
}

fn read(tensor: &TensorSnapshot, spec: &ParameterSpec) -> Result<Vec<f32>, String> {
    if tensor.shape.as_slice() != spec.shape {
        return Err(format!("is {}, must be {:?}", shape(tensor), spec.shape));
    }
    if !tensor.dtype.is_float() {
        return Err(format!("holds {:?}, must hold floats", tensor.dtype));
    }
    let data = tensor.to_data().map_err(|error| format!("cannot be read: {error:?}"))?;
    let values: Vec<f32> = data.convert::<f32>().to_vec().map_err(|e| format!("{e:?}"))?;
    if values.len() != spec.len() {
        return Err(format!("has {} values, must have {}", values.len(), spec.len()));
    }
    if !values.iter().all(|v| v.is_finite()) {
        return Err("holds values that are not finite".into());
    }
    Ok(values)
}
