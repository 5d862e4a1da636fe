//! Checkpoints: a Burn `.mpk` record with its configuration beside it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
use burn::tensor::backend::Backend;

use crate::config::{ConfigError, ModelConfig};
use crate::files::Pending;
pub use crate::files::{is_descriptor, write_atomic};
use crate::network::Network;
use crate::tensors;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file could not be read.
    #[error("cannot read {}; check that the path is right and that it may be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; check that the folder is there, may be written and has room", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is what is made from a checkpoint.
    #[error("{} is an artifact, no checkpoint; name what it was quantized from (best.mpk)", .0.display())]
    Artifact(PathBuf),
    /// The configuration beside the checkpoint is missing.
    #[error("{} has no configuration beside it: {} is missing; keep both files together", .path.display(), .config.display())]
    MissingConfig {
        /// The checkpoint.
        path: PathBuf,
        /// The configuration that should be there.
        config: PathBuf,
    },
    /// The configuration beside the checkpoint is no configuration.
    #[error("{} is not a model configuration: {source}", .path.display())]
    ConfigSyntax {
        /// The configuration.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The configuration describes no network.
    #[error("{}: {source}", .path.display())]
    Config {
        /// The configuration.
        path: PathBuf,
        /// Which field.
        source: ConfigError,
    },
    /// The file is not a record of a Burn module.
    #[error("{} is not a Burn `.mpk` record: {reason}; was it written by `picovit train` or by Burn's NamedMpkFileRecorder?", .path.display())]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The record holds another network than the configuration says.
    #[error("{} does not fit its configuration (model `{model}`): {}; the `.json` beside it belongs to another checkpoint", .path.display(), .problems.join("; "))]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Model of the configuration.
        model: String,
        /// Every parameter that does not fit.
        problems: Vec<String>,
    },
    /// The checkpoint's network is no start of another one.
    #[error("{} is no start for model `{model}`: {}; only the number of classes and the image size may differ", .path.display(), .problems.join("; "))]
    OtherNetwork {
        /// The checkpoint.
        path: PathBuf,
        /// Model to train.
        model: String,
        /// Every parameter that does not fit.
        problems: Vec<String>,
    },
}

/// The configuration's file beside a checkpoint: `best.mpk` has `best.json`; of a name without that
/// ending, as `cct_1.0`, nothing is taken away.
#[must_use]
pub fn config_path(checkpoint: &Path) -> PathBuf {
    match checkpoint.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mpk")) {
        true => checkpoint.with_extension("json"),
        false => {
            let mut path = checkpoint.as_os_str().to_owned();
            path.push(".json");
            path.into()
        }
    }
}

/// Saves a network and its configuration.
///
/// # Errors
/// If a file cannot be written; then neither is there, or both are as they were. Only where the configuration
/// cannot be renamed after the weights were, new weights lie beside what was there.
pub fn save<B: Backend>(
    model: &Network<B>,
    config: &ModelConfig,
    path: &Path,
) -> Result<(), RecordError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RecordError::Write { path, source }
    };
    let json = serde_json::to_string_pretty(config).expect("a configuration is plain data") + "\n";
    let config = config_path(path);
    let weights = Pending::write(path, &to_bytes(model)).map_err(failed(path))?;
    let text = Pending::write(&config, json.as_bytes()).map_err(failed(&config))?;
    if config.is_dir() {
        return Err(failed(&config)(io::ErrorKind::IsADirectory.into()));
    }
    weights.publish().map_err(failed(path))?;
    text.publish().map_err(failed(&config))
}

/// A network's record as bytes.
pub fn to_bytes<B: Backend>(model: &Network<B>) -> Vec<u8> {
    match model {
        Network::Cct(cct) => encode(cct),
        Network::VitLite(vit) => encode(vit),
        Network::KerasCct(keras) => encode(keras),
        Network::MobileVit(mobilevit) => encode(mobilevit),
    }
}

fn encode<B: Backend, M: Module<B>>(module: &M) -> Vec<u8> {
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    let recorded = Recorder::<B>::record(&recorder, module.clone().into_record(), ());
    recorded.expect("a module is plain data")
}

/// Loads a network with its configuration.
///
/// # Errors
/// If a file is missing, is no record, or holds another network than its configuration says.
pub fn load<B: Backend>(
    path: &Path,
    device: &B::Device,
) -> Result<(Network<B>, ModelConfig), RecordError> {
    let config = load_config(path)?;
    let model = load_weights(path, &config, device)?;
    Ok((model, config))
}

/// Reads the configuration beside a checkpoint.
///
/// # Errors
/// If it is missing or describes no network.
pub fn load_config(checkpoint: &Path) -> Result<ModelConfig, RecordError> {
    let mut magic = [0; picovit::format::MAGIC.len()];
    let begins = File::open(checkpoint).and_then(|mut file| file.read_exact(&mut magic));
    if begins.is_ok() && magic == picovit::format::MAGIC {
        return Err(RecordError::Artifact(checkpoint.into()));
    }
    let path = config_path(checkpoint);
    // What earlier versions wrote beside names with another ending.
    let before = checkpoint.with_extension("json");
    let path = if !path.exists() && before.exists() { before } else { path };
    let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if checkpoint.exists() => {
            RecordError::MissingConfig { path: checkpoint.into(), config: path.clone() }
        }
        io::ErrorKind::NotFound => RecordError::Read { path: checkpoint.into(), source },
        _ => RecordError::Read { path: path.clone(), source },
    })?;
    let config: ModelConfig = serde_json::from_str(&text)
        .map_err(|source| RecordError::ConfigSyntax { path: path.clone(), source })?;
    config.validate().map_err(|source| RecordError::Config { path, source })?;
    Ok(config)
}

/// Loads the weights of a network whose configuration is known.
///
/// # Errors
/// If the file is missing, is no record, or holds another network.
pub fn load_weights<B: Backend>(
    path: &Path,
    config: &ModelConfig,
    device: &B::Device,
) -> Result<Network<B>, RecordError> {
    let bytes = fs::read(path).map_err(|source| RecordError::Read { path: path.into(), source })?;
    let not_a_record = |reason| RecordError::NotARecord { path: path.into(), reason };
    let problems = tensors::check(&bytes, config).map_err(not_a_record)?;
    if !problems.is_empty() {
        let model = config.name.clone();
        return Err(RecordError::Mismatch { path: path.into(), model, problems });
    }
    let model = Network::init(config, 0, device)
        .map_err(|source| RecordError::Config { path: config_path(path), source })?;
    let model = match model {
        Network::Cct(cct) => decode(cct, bytes, device).map(Network::Cct),
        Network::VitLite(vit) => decode(vit, bytes, device).map(Network::VitLite),
        Network::KerasCct(keras) => decode(keras, bytes, device).map(Network::KerasCct),
        Network::MobileVit(mobilevit) => decode(mobilevit, bytes, device).map(Network::MobileVit),
    };
    model.map_err(not_a_record)
}

fn decode<B: Backend, M: Module<B>>(
    module: M,
    bytes: Vec<u8>,
    device: &B::Device,
) -> Result<M, String> {
    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    let record = Recorder::<B>::load(&recorder, bytes, device);
    Ok(module.load_record(record.map_err(|error| error.to_string())?))
}
