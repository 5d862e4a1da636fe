//! Export to the layouts in which networks are published.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::config::ModelConfig;
use crate::import::layout::{Layout, Source};
use crate::record::{self, RecordError};
use crate::tensors;

/// Key of the metadata that says which tokens, `HEIGHTxWIDTH`, a positional embedding is for.
pub(crate) const TOKEN_GRID: &str = "picovit.token_grid";

/// Key of the metadata that holds the configuration: heads, normalisation and class names, which no
/// weight tells.
pub(crate) const CONFIG: &str = "picovit.config";

/// Why a checkpoint could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The file could not be written.
    #[error("cannot write {}; check that the folder is there, may be written and has room", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Writes a checkpoint's weights as a safetensors file of f32 tensors, named as their authors
/// name them: CCT, CVT and ViT-Lite as SHI-Labs does, MobileViT as timm does. Networks of the
/// Keras example keep this crate's names. The configuration goes into the file's metadata. Returns the
/// configuration.
///
/// # Errors
/// If the checkpoint cannot be read or the file not be written.
pub fn export_checkpoint(checkpoint: &Path, out: &Path) -> Result<ModelConfig, ExportError> {
    let (model, config) = record::load::<Flex>(checkpoint, &Default::default())?;
    let layout = Layout::official(&config.architecture);
    let parameters = tensors::parameters(&record::to_bytes(&model), &config);
    let mut parameters = parameters.expect("a record holds the network it was made of");
    let tensors = config.parameters().into_iter().map(|spec| {
        let Source::Whole(key) = layout.source(&config, &spec.name) else {
            unreachable!("no official layout splits {}", spec.name)
        };
        let values = parameters.take(&spec.name);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (key, spec.shape, bytes)
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(key, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (key, view.expect("bytes fill the shape"))
    });
    // Readers made for PyTorch ask for this.
    let mut metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // Of 64 tokens nobody sees whether they are 8x8 or 4x16.
    if let Some(grid) = config.architecture.token_grid(config.image_size) {
        metadata.insert(TOKEN_GRID.to_owned(), grid.to_string());
    }
    let noted = serde_json::to_string(&config).expect("a configuration is plain data");
    metadata.insert(CONFIG.to_owned(), noted);
    let content = safetensors::serialize(views, Some(metadata)).expect("tensors fit into a file");
    let content = in_order(&content);
    record::write_atomic(out, &content)
        .map_err(|source| ExportError::Write { path: out.into(), source })?;
    Ok(config)
}

/// A safetensors file with its header in order: of a map without one, the same network would be other
/// bytes each time.
fn in_order(content: &[u8]) -> Vec<u8> {
    let (length, rest) =
        content.split_first_chunk::<8>().expect("a file begins with its header's length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(header).expect("a header is JSON");
    let mut header = serde_json::to_vec(&header).expect("plain data");
    // The data begins where eight bytes do.
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}
