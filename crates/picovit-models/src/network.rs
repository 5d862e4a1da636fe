//! A network of any family.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::{Architecture, ConfigError, ModelConfig};
use crate::modules::{BlockMasks, Cct, KerasCct, MobileVit, NoTaps, Taps, VitLite, no_masks};
use crate::weights::{Initializer, Parameters};

/// A network of any family. Checkpoints hold the record of the family's module, not of this
/// enumeration, so that a file does not change when families are added.
#[derive(Module, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a program holds one network, not many")]
pub enum Network<B: Backend> {
    /// Compact convolutional transformer, or compact vision transformer.
    Cct(Cct<B>),
    /// Small vision transformer.
    VitLite(VitLite<B>),
    /// Compact convolutional transformer of the Keras examples.
    KerasCct(KerasCct<B>),
    /// MobileViT.
    MobileVit(MobileVit<B>),
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
            Architecture::Cct(_) | Architecture::Cvt(_) => {
                Self::Cct(Cct::from_parameters(config, parameters, device))
            }
            Architecture::VitLite(_) => {
                Self::VitLite(VitLite::from_parameters(config, parameters, device))
            }
            Architecture::KerasCct(_) => {
                Self::KerasCct(KerasCct::from_parameters(config, parameters, device))
            }
            Architecture::MobileVit(_) => {
                Self::MobileVit(MobileVit::from_parameters(config, parameters, device))
            }
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        match self {
            Self::Cct(cct) => cct.forward(images),
            Self::VitLite(vit) => vit.forward(images),
            Self::KerasCct(keras) => keras.forward(images),
            Self::MobileVit(mobilevit) => mobilevit.forward(images),
        }
    }

    /// The same in training: one entry of masks for each transformer block, in the order of
    /// [`ModelConfig::dropouts`]. On an autodiff backend, batch normalisation uses the batch's own
    /// statistics.
    pub fn forward_masked(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>) -> Tensor<B, 2> {
        match self {
            Self::Cct(cct) => cct.forward_with(images, masks, &mut NoTaps),
            Self::VitLite(vit) => vit.forward_with(images, masks, &mut NoTaps),
            Self::KerasCct(keras) => keras.forward_with(images, masks, &mut NoTaps),
            Self::MobileVit(mobilevit) => mobilevit.forward_masked(images, masks),
        }
    }

    /// The same as [`Self::forward`], with convolutions whose gradients are fast and every value
    /// shown to the taps. Batch normalisation uses its running statistics on autodiff backends too.
    pub fn forward_tapped(&self, images: Tensor<B, 4>, taps: &mut impl Taps<B>) -> Tensor<B, 2> {
        match self {
            Self::Cct(cct) => cct.forward_with(images, no_masks(cct.blocks.len()), taps),
            Self::VitLite(vit) => vit.forward_with(images, no_masks(vit.blocks.len()), taps),
            Self::KerasCct(keras) => keras.forward_with(images, no_masks(keras.blocks.len()), taps),
            Self::MobileVit(mobilevit) => mobilevit.forward_tapped(images, taps),
        }
    }
}
