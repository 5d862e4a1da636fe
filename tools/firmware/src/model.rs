//! The artifact that goes into the firmware.

use std::fs;
use std::path::{Path, PathBuf};

use picovit::Model;
use picovit::format::Packing;
use picovit::ops::Op;
use serde::Deserialize;

use crate::aligned::Aligned;
use crate::error::Error;
use crate::paths::{root, shown};

/// A checked artifact.
pub(crate) struct Artifact {
    /// The file, absolute.
    pub path: PathBuf,
    bytes: Aligned,
}

impl Artifact {
    /// Reads and checks the artifact of this name, or the one to be found without a name.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Error> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => default()?,
        };
        let bytes = fs::read(&path).map_err(|error| Error::Model {
            path: PathBuf::from(shown(&path)),
            reason: error.to_string(),
        })?;
        let mut artifact = Self { bytes: Aligned::copy(&bytes), path };
        artifact.path =
            artifact.path.canonicalize().map_err(Error::file("read", &artifact.path))?;
        artifact.checked()?;
        Ok(artifact)
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn checked(&self) -> Result<Model<'_>, Error> {
        let failed = |reason: picovit::Error| Error::Model {
            path: PathBuf::from(shown(&self.path)),
            reason: reason.to_string(),
        };
        Model::parse(self.bytes()).map_err(failed)
    }

    /// The model in it.
    pub(crate) fn model(&self) -> Model<'_> {
        self.checked().expect("checked when it was read")
    }

    /// Whether it has convolutions of many tiles at a time, which chips have no code for of their own.
    pub(crate) fn has_many_tiles(&self) -> bool {
        let model = self.model();
        let ops = (0..model.op_count()).filter_map(|index| model.op(index).ok());
        ops.into_iter().any(|op| matches!(op, Op::Conv(conv) if conv.record().winograd == 3))
    }

    /// Features that it needs of a board's package, whose kernels have a packing of their own.
    pub(crate) fn features(&self, packing: Packing) -> Vec<&'static str> {
        let model = self.model();
        let kinds = || (0..model.op_count()).filter_map(|index| model.op(index).ok());
        let floats = model.header().format != picovit::format::FORMAT_INT8;
        let class_token = kinds().any(|op| matches!(op, Op::ClassPool(_) | Op::FloatClassPool(_)));
        let mobilevit = kinds().any(|op| {
            use Op::{AvgPool, Fold, InvertedResidual};
            matches!(op, InvertedResidual(_) | Fold(_) | AvgPool(_))
        });
        let packed_for_another = model.packing() != packing || self.has_many_tiles();
        let features = [
            ("f16", floats),
            ("class-token", class_token),
            ("mobilevit", mobilevit),
            ("every-packing", packed_for_another),
        ];
        features.into_iter().filter(|&(_, needed)| needed).map(|(feature, _)| feature).collect()
    }

    /// The name of the data set the model was trained on, if the artifact says so.
    pub(crate) fn dataset(&self) -> Option<String> {
        self.info().dataset
    }

    /// Names of the operations, as far as the artifact has them.
    pub(crate) fn op_names(&self) -> Vec<String> {
        self.info().ops
    }

    /// The description inside; a foreign one gives nothing.
    fn info(&self) -> Info {
        serde_json::from_str(self.model().info()).unwrap_or_default()
    }
}

/// What is of interest here in the description that `cargo tools quantize` writes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    dataset: Option<String>,
    ops: Vec<String>,
}

/// Where `cargo tools quantize` puts it, else that in the repository.
fn default() -> Result<PathBuf, Error> {
    let places = [PathBuf::from("model.pvit"), root().join("model.pvit")];
    let looked = places[1].display().to_string();
    places.into_iter().find(|path| path.is_file()).ok_or(Error::NoModel { looked })
}
