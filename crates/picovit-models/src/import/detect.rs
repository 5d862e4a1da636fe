//! What network a state dict holds, told by its keys and shapes.

use super::layout::Layout;
use super::state_dict::{Entry, StateDict};
use super::{Hints, ImportError};
use crate::config::named::all;
use crate::config::{
    Architecture, CctConfig, ImageSize, ModelConfig, PositionalEmbedding, VitConfig, default_rate,
};
use crate::weights::sines;

impl StateDict {
    /// The configuration of the network in the file: family, sizes, channels and classes, and the
    /// image size where the positional embedding tells it.
    ///
    /// # Errors
    /// If the network is none that this crate has, or something that no weight tells is not in
    /// `hints`.
    pub fn detect(&self, hints: &Hints) -> Result<ModelConfig, ImportError> {
        let found = match self.layout {
            Layout::ShiLabs => self.shi_labs(hints),
            _ => self.published(hints),
        };
        let problem = match found {
            Ok(config) => return config.validate().map(|()| config).map_err(Into::into),
            Err(problem) => problem,
        };
        Err(ImportError::Undetected { path: self.path.clone(), problem })
    }

    fn shape(&self, key: &str, rank: usize) -> Result<&[usize], String> {
        let entry = self.tensors.get(key).ok_or_else(|| format!("{key} is missing"))?;
        match entry.shape.len() == rank {
            true => Ok(&entry.shape),
            false => Err(format!("{key} is {:?}, must have {rank} axes", entry.shape)),
        }
    }

    /// Number of consecutive indices in a key.
    fn count(&self, key: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&index| self.tensors.contains_key(&key(index))).count()
    }

    fn shi_labs(&self, hints: &Hints) -> Result<ModelConfig, String> {
        let conv = self.shape("tokenizer.conv_layers.0.0.weight", 4)?;
        let (first, channels, kernel) = (conv[0], conv[1], conv[2]);
        let head = self.shape("classifier.fc.weight", 2)?;
        let (classes, dim) = (head[0], head[1]);
        let stages = self.count(|i| format!("tokenizer.conv_layers.{i}.0.weight"));
        let layers = self.count(|i| format!("classifier.blocks.{i}.self_attn.qkv.weight"));
        let hidden = self.shape("classifier.blocks.0.linear1.weight", 2)?[0];
        let class_token = self.tensors.contains_key("classifier.class_emb");
        let positions = self.tensors.get("classifier.positional_emb");
        let positional_embedding = match positions {
            None => PositionalEmbedding::None,
            Some(entry) if is_sine(entry) => PositionalEmbedding::Sine,
            Some(_) => PositionalEmbedding::Learnable,
        };
        let heads = hints.heads.or_else(|| published_heads(layers, dim)).ok_or_else(|| {
            format!(
                "no weight tells the number of attention heads, and {layers} layers of width \
                 {dim} are no published size; pass --heads"
            )
        })?;
        let mlp_ratio = hidden as f32 / dim as f32;
        let patches = self.tensors.contains_key("tokenizer.conv_layers.0.0.bias");
        let architecture = if patches {
            let vit = VitConfig {
                patch_size: kernel,
                embedding_dim: dim,
                layers,
                heads,
                mlp_ratio,
                positional_embedding,
                attention_dropout: default_rate(),
                stochastic_depth: default_rate(),
            };
            if class_token { Architecture::VitLite(vit) } else { Architecture::Cvt(vit) }
        } else {
            Architecture::Cct(CctConfig {
                kernel_size: kernel,
                tokenizer_layers: stages,
                tokenizer_channels: if stages > 1 { first } else { 64 },
                embedding_dim: dim,
                layers,
                heads,
                mlp_ratio,
                positional_embedding,
                attention_dropout: default_rate(),
                stochastic_depth: default_rate(),
            })
        };
        let config = ModelConfig::new(&name(&architecture), architecture)
            .with_channels(channels)
            .with_classes(classes);
        let tokens = positions.and_then(|entry| entry.shape.get(1).copied());
        let tokens = tokens.map(|n| n.saturating_sub(usize::from(class_token)));
        with_size(config, tokens, hints)
    }

    /// One of the published configurations of a layout, by comparing every shape.
    fn published(&self, hints: &Hints) -> Result<ModelConfig, String> {
        let candidates = all().into_iter().filter(|c| self.layout.names(&c.architecture));
        for config in candidates {
            let specs = config.parameters();
            let tensor = |name: &str| {
                let spec = specs.iter().find(|spec| spec.name == name)?;
                self.tensors.get(&self.layout.source(&config, &spec.name).keys()[0])
            };
            let (Some(head), Some(stem)) = (tensor("fc.weight"), tensor(&specs[0].name)) else {
                continue;
            };
            let (&[classes, _], &[_, channels, ..]) =
                (head.shape.as_slice(), stem.shape.as_slice())
            else {
                continue;
            };
            let tokens = tensor("positional_emb").and_then(|entry| entry.shape.get(1).copied());
            let class = usize::from(tensor("class_emb").is_some());
            let (mean, std) = (config.mean[0], config.std[0]);
            let config = config
                .with_channels(channels)
                .with_classes(classes)
                .with_normalization(vec![mean; channels], vec![std; channels]);
            if !matches!(channels, 1 | 3) || !self.fits(&config) {
                continue;
            }
            return match tokens {
                Some(tokens) => with_size(config, Some(tokens.saturating_sub(class)), hints),
                // MobileViT takes any image.
                None => Ok(match hints.image_size {
                    Some(size) => config.with_image_size(size.height, size.width),
                    None => config,
                }),
            };
        }
        Err("its sizes are none of the published ones; pass --model".into())
    }

    /// Whether every shape but the positional embedding's is the configuration's.
    fn fits(&self, config: &ModelConfig) -> bool {
        let mut keys = 0;
        let fits = config.parameters().iter().all(|spec| {
            let source = self.layout.source(config, &spec.name);
            keys += source.keys().len();
            let thirds = source.keys().len();
            source.keys().iter().all(|key| {
                self.tensors.get(key).is_some_and(|entry| {
                    let mut shape = spec.shape.clone();
                    shape[0] /= thirds;
                    spec.kind.is_position() || entry.shape == shape
                })
            })
        });
        fits && keys == self.tensors.len()
    }
}

/// Sets the image size: the one asked for, else the largest square one of so many tokens.
fn with_size(
    config: ModelConfig,
    tokens: Option<usize>,
    hints: &Hints,
) -> Result<ModelConfig, String> {
    if let Some(size) = hints.image_size {
        return Ok(config.with_image_size(size.height, size.width));
    }
    let Some(tokens) = tokens else {
        return Err("no positional embedding tells the image size; pass --image-size".into());
    };
    let edge = (1..=1024).rev().find(|&edge| {
        let grid = config.architecture.token_grid(ImageSize { height: edge, width: edge });
        grid.is_some_and(|grid| grid.height == grid.width && grid.area() == tokens)
            && config.clone().with_image_size(edge, edge).validate().is_ok()
    });
    match edge {
        Some(edge) => Ok(config.with_image_size(edge, edge)),
        None => {
            Err(format!("no square image makes {tokens} tokens; pass --image-size HEIGHTxWIDTH"))
        }
    }
}

fn published_heads(layers: usize, dim: usize) -> Option<usize> {
    all().iter().find_map(|config| match &config.architecture {
        Architecture::Cct(cct) if (cct.layers, cct.embedding_dim) == (layers, dim) => {
            Some(cct.heads)
        }
        _ => None,
    })
}

/// The published name of an architecture, or one made like it.
fn name(architecture: &Architecture) -> String {
    if let Some(config) = all().into_iter().find(|config| config.architecture == *architecture) {
        return config.name;
    }
    let (base, embedding) = match architecture {
        Architecture::Cct(cct) => {
            let base = format!("cct_{}_{}x{}", cct.layers, cct.kernel_size, cct.tokenizer_layers);
            (base, cct.positional_embedding)
        }
        Architecture::Cvt(vit) => {
            (format!("cvt_{}_{}", vit.layers, vit.patch_size), vit.positional_embedding)
        }
        Architecture::VitLite(vit) => {
            (format!("vit_lite_{}_{}", vit.layers, vit.patch_size), vit.positional_embedding)
        }
        other => unreachable!("{other:?} has only published sizes"),
    };
    match embedding {
        PositionalEmbedding::Sine => base + "_sine",
        _ => base,
    }
}

fn is_sine(entry: &Entry) -> bool {
    match &entry.values {
        Ok(values) if entry.shape.len() == 3 => {
            let expected = sines(&entry.shape);
            values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3)
        }
        _ => false,
    }
}
