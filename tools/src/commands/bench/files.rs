//! The network as a file, for the peers that read ONNX.

use miette::{IntoDiagnostic, Result, WrapErr};
use picovit_compiler::graph::Graph;
use prost::Message;
use tract_onnx::pb::ModelProto;

use super::onnxruntime::{Mode, OnnxRuntime};
use super::peer::Peer;
use super::tract::Tract;
use super::{Args, PeerName, onnx};
use crate::output;

/// What the peers that read ONNX start from.
pub struct OnnxFiles {
    folder: tempfile::TempDir,
    proto: ModelProto,
    images: Vec<Vec<f32>>,
    shape: [usize; 4],
}

impl OnnxFiles {
    /// Writes the network and the images for engines in other processes.
    pub fn write(args: &Args, graph: &Graph, images: &[Vec<u8>]) -> Result<Self> {
        let proto = onnx::model(graph);
        let bytes = proto.encode_to_vec();
        let folder = tempfile::tempdir().into_diagnostic().wrap_err("cannot make a folder")?;
        output::write(&folder.path().join("model.onnx"), &bytes)?;
        if let Some(path) = &args.onnx {
            output::write(path, &bytes)?;
        }
        let images: Vec<Vec<f32>> = images.iter().map(|image| onnx::input(graph, image)).collect();
        let values: Vec<u8> = images.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        output::write(&folder.path().join("images.f32"), &values)?;
        let shape = graph.image.shape;
        Ok(Self { folder, proto, images, shape: [1, shape.channels, shape.height, shape.width] })
    }

    /// A peer that has the images.
    pub fn start(&self, peer: PeerName, args: &Args) -> Result<Box<dyn Peer>> {
        let mode = match peer {
            PeerName::Onnxruntime => Mode::Float,
            PeerName::OnnxruntimeInt8 => Mode::Int8,
            PeerName::Tract | PeerName::Burn => {
                return Ok(Box::new(Tract::new(&self.proto, &self.images, self.shape)?));
            }
        };
        Ok(Box::new(OnnxRuntime::start(&args.python, self.folder.path(), mode)?))
    }
}
