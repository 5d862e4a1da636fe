//! A network of any family.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::cct::{BlockMasks, Cct};
use crate::config::{Architecture, ConfigError, ModelConfig};
use crate::weights::{Initializer, Parameters};

/// A network of any family. Checkpoints hold the record of the family's module, not of this
/// enumeration, so that a file does not change when families are added.
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum Network<B: Backend> {
    /// Compact convolutional transformer.
    Cct(Cct<B>),
}

impl<B: Backend> Network<B> {
    /// A network with initial weights that depend on `seed` alone.
    ///
    /// # Errors
    /// If the configuration is not valid.
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let parameters = Initializer::new(seed).draw(&config.parameters());
        Ok(Self::from_parameters(config, parameters, device))
    }

    /// A network of the given weights.
    ///
    /// # Panics
    /// If a parameter of the configuration is missing.
    #[must_use]
    pub fn from_parameters(
        config: &ModelConfig,
        parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        match &config.architecture {
            Architecture::Cct(_) => Self::Cct(Cct::from_parameters(config, parameters, device)),
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        match self {
            Self::Cct(cct) => cct.forward(images),
        }
    }

    /// The same under dropout: one entry of masks for each transformer block.
    pub fn forward_masked(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>) -> Tensor<B, 2> {
        match self {
            Self::Cct(cct) => cct.forward_masked(images, masks),
        }
    }
}
