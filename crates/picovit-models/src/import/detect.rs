//! What network a state dict holds, told by its keys and shapes.

use std::collections::BTreeMap;

use picovit::image::MAX_EDGE;

use super::layout::Layout;
use super::state_dict::{Entry, StateDict};
use super::{Hints, ImportError};
use crate::config::named::all;
use crate::config::{
    Architecture, CctConfig, ImageSize, ModelConfig, PositionalEmbedding, VitConfig, default_rate,
};
use crate::weights::sines;

/// Blocks or stages of a network, at most.
const MAX_INDEX: usize = 1 << 10;

impl StateDict {
    /// The configuration of the network in the file: family, sizes, channels and classes, and the
    /// image size where the positional embedding tells it.
    ///
    /// # Errors
    /// If the network is none that this crate has, or something that no weight tells is not in
    /// `hints`.
    pub fn detect(&self, hints: &Hints) -> Result<ModelConfig, ImportError> {
        let found = self.noted(hints).unwrap_or_else(|| match self.layout {
            Layout::ShiLabs => self.shi_labs(hints),
            _ => self.published(hints),
        });
        let problem = match found {
            Ok(config) => return config.validate().map(|()| config).map_err(Into::into),
            Err(problem) => problem,
        };
        Err(ImportError::Undetected { path: self.path.clone(), problem })
    }

    /// The configuration that an export of this crate notes: with it, nothing is assumed. Nothing if the
    /// weights are no longer those of it.
    #[must_use]
    pub fn noted_config(&self) -> Option<&ModelConfig> {
        let config = self.config.as_ref()?;
        config.validate().ok()?;
        (self.layout.names(&config.architecture) && self.misfits(config) == 0).then_some(config)
    }

    /// The same, changed as the hints say.
    fn noted(&self, hints: &Hints) -> Option<Result<ModelConfig, String>> {
        let mut config = self.noted_config()?.clone();
        if let Some(size) = hints.image_size {
            config = config.with_image_size(size.height, size.width);
        }
        Some(with_heads(config, hints))
    }

    fn shape(&self, key: &str, rank: usize) -> Result<&[usize], String> {
        let entry = self.tensors.get(key).ok_or_else(|| self.missing(key))?;
        match entry.shape.len() == rank {
            true => Ok(&entry.shape),
            false => Err(format!("{key} is {:?}, must have {rank} axes", entry.shape)),
        }
    }

    /// That a key is missing, and the one that begins most like it, if it was renamed.
    fn missing(&self, key: &str) -> String {
        let alike =
            |other: &str| other.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        let nearest = self.tensors.keys().max_by_key(|other| alike(other));
        format!("{key} is missing; nearest to it is {}", nearest.map_or("nothing", |key| key))
    }

    /// One more than the largest index behind the start of a key, also where some are missing.
    fn count(&self, start: &str) -> usize {
        let indices = self.tensors.keys().filter_map(|key| {
            let (index, _) = key.strip_prefix(start)?.split_once('.')?;
            // No network has more, and who reads it would wait for it.
            index.parse::<usize>().ok().filter(|&index| index < MAX_INDEX)
        });
        indices.max().map_or(0, |index| index + 1)
    }

    /// Hidden and model width of most blocks' MLP.
    fn mlp(&self) -> Result<[usize; 2], String> {
        let mut counts = BTreeMap::<[usize; 2], usize>::new();
        for (key, entry) in &self.tensors {
            let &[rows, columns] = &entry.shape[..] else { continue };
            if key.ends_with(".linear1.weight") {
                *counts.entry([rows, columns]).or_default() += 1;
            } else if key.ends_with(".linear2.weight") {
                *counts.entry([columns, rows]).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(shape, _)| shape)
            .ok_or_else(|| self.missing("classifier.blocks.0.linear1.weight"))
    }

    fn shi_labs(&self, hints: &Hints) -> Result<ModelConfig, String> {
        let conv = self.shape("tokenizer.conv_layers.0.0.weight", 4)?;
        let (first, channels, kernel) = (conv[0], conv[1], conv[2]);
        if !matches!(channels, 1 | 3) || !(1..=MAX_EDGE).contains(&kernel) || conv[3] != kernel {
            return Err(format!(
                "tokenizer.conv_layers.0.0.weight is {conv:?}, must see 1 or 3 channels through \
                 square kernels"
            ));
        }
        let bias = self.shape("classifier.fc.bias", 1).map(|shape| shape[0]);
        let classes =
            bias.or_else(|_| Ok::<_, String>(self.shape("classifier.fc.weight", 2)?[0]))?;
        let stages = self.count("tokenizer.conv_layers.");
        let layers = self.count("classifier.blocks.");
        let [hidden, dim] = self.mlp()?;
        let inner = match stages {
            0 | 1 => 64,
            _ => self.shape("tokenizer.conv_layers.1.0.weight", 4).map_or(first, |conv| conv[1]),
        };
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
                tokenizer_channels: inner,
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

    /// The published configuration of a layout that fewest keys and shapes speak against.
    fn published(&self, hints: &Hints) -> Result<ModelConfig, String> {
        let candidates = all().into_iter().filter(|c| self.layout.names(&c.architecture));
        let fitted = candidates.map(|config| {
            let config = self.adapted(config);
            (self.misfits(&config), config)
        });
        let (misfits, config) =
            fitted.min_by_key(|(misfits, _)| *misfits).ok_or("no network is named so")?;
        // What does not fit is listed when the weights are taken over.
        if misfits > self.tensors.len() / 4 {
            let others = match self.layout {
                Layout::Timm => {
                    " (of timm's networks, MobileViT is supported, MobileViT v2 is not)"
                }
                _ => "",
            };
            return Err(format!("its sizes are none of the published ones{others}; pass --model"));
        }
        let config = with_heads(config, hints)?;
        let tokens = self.tensor(&config, "positional_emb").and_then(|e| e.shape.get(1).copied());
        let class = usize::from(self.tensor(&config, "class_emb").is_some());
        match (tokens, hints.image_size) {
            (Some(tokens), _) => with_size(config, Some(tokens.saturating_sub(class)), hints),
            // MobileViT takes any image.
            (None, Some(size)) => Ok(config.with_image_size(size.height, size.width)),
            (None, None) => Ok(config),
        }
    }

    /// The tensor of a parameter.
    fn tensor(&self, config: &ModelConfig, name: &str) -> Option<&Entry> {
        let specs = config.parameters();
        let spec = specs.iter().find(|spec| spec.name == name)?;
        self.tensors.get(&self.layout.source(config, &spec.name).keys()[0])
    }

    /// A published configuration with the file's channels and classes.
    fn adapted(&self, config: ModelConfig) -> ModelConfig {
        let stem = self.tensor(&config, &config.parameters()[0].name);
        let channels = stem.and_then(|entry| entry.shape.get(1).copied());
        let channels = channels.filter(|n| matches!(n, 1 | 3)).unwrap_or(config.channels);
        let head = self.tensor(&config, "fc.bias").or_else(|| self.tensor(&config, "fc.weight"));
        let classes = head.and_then(|entry| entry.shape.first().copied());
        let classes = classes.unwrap_or(config.classes);
        let (mean, std) = (config.mean[0], config.std[0]);
        config
            .with_channels(channels)
            .with_classes(classes)
            .with_normalization(vec![mean; channels], vec![std; channels])
    }

    /// Number of keys that are missing, unknown or of another shape than the configuration's,
    /// but for the positional embedding's, which tells the image size.
    fn misfits(&self, config: &ModelConfig) -> usize {
        let (mut wrong, mut known) = (0, 0);
        for spec in config.parameters() {
            let source = self.layout.source(config, &spec.name);
            let mut shape = spec.shape;
            shape[0] /= source.keys().len();
            for key in source.keys() {
                let entry = self.tensors.get(key);
                known += usize::from(entry.is_some());
                let fits = entry.is_some_and(|e| spec.kind.is_position() || e.shape == shape);
                wrong += usize::from(!fits);
            }
        }
        wrong + self.tensors.len() - known
    }
}

/// Sets the number of attention heads, if it was told.
fn with_heads(mut config: ModelConfig, hints: &Hints) -> Result<ModelConfig, String> {
    match hints.heads {
        Some(heads) if !config.architecture.set_heads(heads) => {
            Err(format!("{} of its channels cannot be shared by {heads} heads", config.name))
        }
        _ => Ok(config),
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
    let largest = edges(&config, tokens).next_back();
    match largest {
        Some(edge) => Ok(config.with_image_size(edge, edge)),
        None => {
            Err(format!("no square image makes {tokens} tokens; pass --image-size HEIGHTxWIDTH"))
        }
    }
}

/// Edges of the square images that a network makes so many tokens of.
fn edges(config: &ModelConfig, tokens: usize) -> impl DoubleEndedIterator<Item = usize> + '_ {
    (1..=1024).filter(move |&edge| {
        let grid = config.architecture.token_grid(ImageSize { height: edge, width: edge });
        grid.is_some_and(|grid| grid.height == grid.width && grid.area() == tokens)
            && config.clone().with_image_size(edge, edge).validate().is_ok()
    })
}

/// The smallest square image that makes the tokens which the configuration's makes, where that is not its
/// own: the weights do not tell which of them they were trained on.
#[must_use]
pub fn smallest_alike(config: &ModelConfig) -> Option<usize> {
    let ImageSize { height, width } = config.image_size;
    let tokens = config.architecture.token_grid(config.image_size)?.area();
    edges(config, tokens).next().filter(|&edge| height == width && edge < height)
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
        // Not whatever else a file may say about no values.
        Ok(values) if matches!(entry.shape[..], [1, tokens, width] if tokens.checked_mul(width) == Some(values.len())) =>
        {
            let expected = sines(&entry.shape);
            // Half of bf16's last place.
            values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 4e-3)
        }
        _ => false,
    }
}
