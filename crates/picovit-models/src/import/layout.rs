//! How published checkpoints call their parameters.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::config::{Architecture, ModelConfig};

/// Who named the keys of a state dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layout {
    /// The authors of CCT: CCT, CVT and ViT-Lite.
    ShiLabs,
    /// MobileViT in timm.
    Timm,
    /// MobileViT in Hugging Face's transformers.
    HuggingFace,
    /// MobileViT in ml-cvnets.
    CvNets,
    /// This crate.
    Own,
}

/// Where a parameter lies in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Under one key.
    Whole(String),
    /// One third each, one behind the other.
    Thirds([String; 3]),
}

impl Source {
    pub(crate) fn keys(&self) -> &[String] {
        match self {
            Self::Whole(key) => std::slice::from_ref(key),
            Self::Thirds(keys) => keys,
        }
    }
}

/// Keys by which a layout is told: some, as one of them may be missing or have another name.
#[rustfmt::skip]
const MARKS: [(&str, Layout); 18] = [
    ("tokenizer.conv_layers.0.0.weight", Layout::ShiLabs),
    ("classifier.blocks.0.self_attn.qkv.weight", Layout::ShiLabs),
    ("classifier.blocks.0.linear1.weight", Layout::ShiLabs),
    ("stages.0.0.conv1_1x1.conv.weight", Layout::Timm),
    ("stages.2.1.conv_1x1.weight", Layout::Timm),
    ("final_conv.conv.weight", Layout::Timm),
    ("encoder.layer.0.layer.0.expand_1x1.convolution.weight", Layout::HuggingFace),
    ("encoder.layer.2.conv_1x1.convolution.weight", Layout::HuggingFace),
    ("conv_1x1_exp.convolution.weight", Layout::HuggingFace),
    ("layer_1.0.block.exp_1x1.block.conv.weight", Layout::CvNets),
    ("layer_3.1.local_rep.conv_1x1.block.conv.weight", Layout::CvNets),
    ("conv_1x1_exp.block.conv.weight", Layout::CvNets),
    ("early.0.expand.conv.weight", Layout::Own),
    ("stages.0.block.widen.weight", Layout::Own),
    ("early.1.expand.conv.weight", Layout::Own),
    ("tokenizer.0.weight", Layout::Own),
    ("blocks.0.qkv.weight", Layout::Own),
    ("blocks.0.linear1.weight", Layout::Own),
];

/// Hugging Face's name of the network without its classifier.
const MODULE: &str = "mobilevit.";

impl Layout {
    /// The layout of a file, and what it puts in front of every key.
    pub(crate) fn of<'a>(keys: impl Iterator<Item = &'a String>) -> Option<(Self, String)> {
        let mut marked = BTreeMap::<(Reverse<usize>, &str, Self), usize>::new();
        for key in keys {
            for (mark, layout) in MARKS {
                let prefix = key.strip_suffix(mark);
                if let Some(prefix) = prefix.filter(|p| p.is_empty() || p.ends_with('.')) {
                    *marked.entry((Reverse(prefix.len()), prefix, layout)).or_default() += 1;
                }
            }
        }
        // Most marks; of equals, the shortest prefix.
        let ((_, prefix, layout), _) = marked.into_iter().max_by_key(|(_, count)| *count)?;
        let prefix = match layout {
            Self::HuggingFace => prefix.strip_suffix(MODULE).unwrap_or(prefix),
            _ => prefix,
        };
        Some((layout, prefix.into()))
    }

    /// The layout in which a network is exported.
    pub(crate) fn official(architecture: &Architecture) -> Self {
        match architecture {
            Architecture::Cct(_) | Architecture::Cvt(_) | Architecture::VitLite(_) => Self::ShiLabs,
            Architecture::MobileVit(_) => Self::Timm,
            Architecture::KerasCct(_) => Self::Own,
        }
    }

    /// A key without the name of the module that only some of a file's keys have.
    pub(crate) fn without_module(self, key: &str) -> &str {
        match self {
            Self::HuggingFace => key.strip_prefix(MODULE).unwrap_or(key),
            _ => key,
        }
    }

    /// Whether published weights of this layout expect blue first: ml-cvnets read its images so,
    /// and Hugging Face took its weights over.
    pub(crate) fn is_bgr(self) -> bool {
        matches!(self, Self::HuggingFace | Self::CvNets)
    }

    /// Where the parameter that [`ModelConfig::parameters`] calls `name` lies.
    ///
    /// # Panics
    /// If the layout is not one of the family.
    pub(crate) fn source(self, config: &ModelConfig, name: &str) -> Source {
        match (self, &config.architecture) {
            (Self::Own, _) => Source::Whole(name.into()),
            (Self::ShiLabs, _) => Source::Whole(shi_labs(name)),
            (_, Architecture::MobileVit(sizes)) => mobilevit(self, &sizes.depths, name),
            (layout, other) => panic!("{layout:?} names no {other:?}"),
        }
    }

    /// Whether networks of this family are named so.
    pub(crate) fn names(self, architecture: &Architecture) -> bool {
        match architecture {
            Architecture::Cct(_) | Architecture::Cvt(_) | Architecture::VitLite(_) => {
                matches!(self, Self::ShiLabs | Self::Own)
            }
            Architecture::MobileVit(_) => self != Self::ShiLabs,
            Architecture::KerasCct(_) => self == Self::Own,
        }
    }

    /// The one of three names that is this layout's.
    fn pick(self, [timm, hugging_face, cvnets]: [&str; 3]) -> &str {
        match self {
            Self::HuggingFace => hugging_face,
            Self::CvNets => cvnets,
            _ => timm,
        }
    }
}

fn shi_labs(name: &str) -> String {
    if let Some((stage, parameter)) =
        name.strip_prefix("tokenizer.").and_then(|rest| rest.split_once('.'))
    {
        return format!("tokenizer.conv_layers.{stage}.0.{parameter}");
    }
    let name = name.replace(".qkv.", ".self_attn.qkv.").replace(".proj.", ".self_attn.proj.");
    format!("classifier.{name}")
}

fn mobilevit(layout: Layout, depths: &[usize; 3], name: &str) -> Source {
    let parts: Vec<&str> = name.split('.').collect();
    let key = match *parts.as_slice() {
        ["stem", part, leaf] => {
            let module = layout.pick(["stem", "conv_stem", "conv_1"]);
            format!("{module}.{}.{leaf}", conv_part(layout, part))
        }
        ["head", part, leaf] => {
            let module = layout.pick(["final_conv", "conv_1x1_exp", "conv_1x1_exp"]);
            format!("{module}.{}.{leaf}", conv_part(layout, part))
        }
        ["fc", leaf] => {
            let module = layout.pick(["head.fc", "classifier", "classifier.fc"]);
            format!("{module}.{leaf}")
        }
        ["early", index, unit, part, leaf] => {
            let index = number(index);
            let (stage, block) = if index == 0 { (0, 0) } else { (1, index - 1) };
            let module = match layout {
                Layout::HuggingFace => format!("encoder.layer.{stage}.layer.{block}"),
                Layout::CvNets => format!("layer_{}.{block}.block", stage + 1),
                _ => format!("stages.{stage}.{block}"),
            };
            format!("{module}.{}.{}.{leaf}", inverted(layout, unit), conv_part(layout, part))
        }
        ["stages", stage, "down", unit, part, leaf] => {
            let stage = number(stage);
            let module = match layout {
                Layout::HuggingFace => format!("encoder.layer.{}.downsampling_layer", stage + 2),
                Layout::CvNets => format!("layer_{}.0.block", stage + 3),
                _ => format!("stages.{}.0", stage + 2),
            };
            format!("{module}.{}.{}.{leaf}", inverted(layout, unit), conv_part(layout, part))
        }
        ["stages", stage, "block", ref rest @ ..] => {
            let stage = number(stage);
            let module = match layout {
                Layout::HuggingFace => format!("encoder.layer.{}", stage + 2),
                Layout::CvNets => format!("layer_{}.1", stage + 3),
                _ => format!("stages.{}.1", stage + 2),
            };
            return block(layout, &module, depths[stage], rest);
        }
        _ => unreachable!("{name} is no parameter of MobileViT"),
    };
    Source::Whole(key)
}

fn block(layout: Layout, module: &str, depth: usize, name: &[&str]) -> Source {
    let key = match *name {
        ["norm", leaf] => match layout {
            Layout::CvNets => format!("global_rep.{depth}.{leaf}"),
            _ => format!("{}.{leaf}", layout.pick(["norm", "layernorm", ""])),
        },
        ["widen", leaf] => {
            let names = ["conv_1x1", "conv_1x1.convolution", "local_rep.conv_1x1.block.conv"];
            format!("{}.{leaf}", layout.pick(names))
        }
        ["layers", index, unit, leaf] => {
            let layer = layout.pick(["transformer", "transformer.layer", "global_rep"]);
            let key = |unit: &str| format!("{module}.{layer}.{index}.{unit}.{leaf}");
            let names = match unit {
                "norm1" => ["norm1", "layernorm_before", "pre_norm_mha.0"],
                "qkv" if layout == Layout::HuggingFace => {
                    let thirds = ["query", "key", "value"];
                    let keys = thirds.map(|part| key(&format!("attention.attention.{part}")));
                    return Source::Thirds(keys);
                }
                "qkv" => ["attn.qkv", "", "pre_norm_mha.1.qkv_proj"],
                "proj" => ["attn.proj", "attention.output.dense", "pre_norm_mha.1.out_proj"],
                "norm2" => ["norm2", "layernorm_after", "pre_norm_ffn.0"],
                "linear1" => ["mlp.fc1", "intermediate.dense", "pre_norm_ffn.1"],
                _ => ["mlp.fc2", "output.dense", "pre_norm_ffn.4"],
            };
            return Source::Whole(key(layout.pick(names)));
        }
        [unit, part, leaf] => {
            let names = match unit {
                "local" => ["conv_kxk", "conv_kxk", "local_rep.conv_3x3"],
                "narrow" => ["conv_proj", "conv_projection", "conv_proj"],
                _ => ["conv_fusion", "fusion", "fusion"],
            };
            format!("{}.{}.{leaf}", layout.pick(names), conv_part(layout, part))
        }
        _ => unreachable!("{name:?} is no parameter of a MobileViT block"),
    };
    Source::Whole(format!("{module}.{key}"))
}

fn inverted(layout: Layout, unit: &str) -> &'static str {
    layout.pick(match unit {
        "expand" => ["conv1_1x1", "expand_1x1", "exp_1x1"],
        "depthwise" => ["conv2_kxk", "conv_3x3", "conv_3x3"],
        _ => ["conv3_1x1", "reduce_1x1", "red_1x1"],
    })
}

fn conv_part(layout: Layout, part: &str) -> &'static str {
    layout.pick(match part {
        "conv" => ["conv", "convolution", "block.conv"],
        _ => ["bn", "normalization", "block.norm"],
    })
}

fn number(text: &str) -> usize {
    text.parse().expect("an index of a parameter's name")
}
