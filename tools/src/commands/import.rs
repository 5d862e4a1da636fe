//! `picovit import`.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result, miette};
use picovit::image::MAX_EDGE;
use picovit_models::{Architecture, Hints, ImageSize, ModelConfig, StateDict, smallest_alike};

use crate::output::{self, grouped};

/// Import a state dict of CCT, CVT, ViT-Lite (as their authors name the weights) or MobileViT (as
/// timm, Hugging Face and ml-cvnets name them).
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// PyTorch state dict (.pth, .pt) or safetensors file.
    file: PathBuf,
    /// Model name, see `cargo tools models` [default: told by the weights' names and shapes].
    #[arg(long)]
    model: Option<String>,
    /// Edge of the square input image, or HEIGHTxWIDTH [default: the positional embedding's, else
    /// the model's own]. Another size than the weights were trained with resamples their
    /// positional embedding, bicubically.
    #[arg(long, value_name = "N|HxW", value_parser = image_size)]
    image_size: Option<(usize, usize)>,
    /// Which of the file's dictionaries to take, as in `state_dict_ema` [default: the one with the
    /// shortest name].
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Rows and columns of tokens that the file's positional embedding is for [default: a square].
    #[arg(long, value_name = "N|HxW", value_parser = image_size)]
    position_grid: Option<(usize, usize)>,
    /// Input channels, 1 or 3 [default: the model's own].
    #[arg(long)]
    channels: Option<usize>,
    /// Number of classes [default: the model's own].
    #[arg(long)]
    classes: Option<usize>,
    /// Channels per token, for networks narrower or wider than the published ones.
    #[arg(long, value_name = "N", requires = "model")]
    embedding_dim: Option<usize>,
    /// Attention heads, which no weight tells [default: the published number].
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Order in which the weights expect the image's channels [default: bgr for MobileViT as
    /// Hugging Face and ml-cvnets publish it, else rgb]. The checkpoint takes rgb.
    #[arg(long, value_enum, value_name = "ORDER")]
    channel_order: Option<ChannelOrder>,
    /// Channel means the weights were trained with, red first, 0..1 units, comma separated [default: 0
    /// for MobileViT and the Keras example, else 0.5].
    #[arg(long, value_delimiter = ',', requires = "std")]
    mean: Option<Vec<f32>>,
    /// Channel standard deviations, red first, 0..1 units, comma separated [default: 1 for MobileViT
    /// and the Keras example, else 0.5].
    #[arg(long, value_delimiter = ',', requires = "mean")]
    std: Option<Vec<f32>>,
    /// Class names, comma separated, in logit order.
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// Data set the weights were trained on, remembered for `quantize`.
    #[arg(long)]
    dataset: Option<String>,
    /// Checkpoint to write; its configuration goes beside it [default: best.mpk, if there is none].
    #[arg(long)]
    out: Option<PathBuf>,
}

fn image_size(text: &str) -> Result<(usize, usize), String> {
    let parse = |s: &str| s.parse::<usize>().map_err(|_| format!("`{s}` is not a size in pixels"));
    match text.split_once('x') {
        Some((height, width)) => Ok((parse(height)?, parse(width)?)),
        None => parse(text).map(|edge| (edge, edge)),
    }
}

/// Order of an image's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ChannelOrder {
    Rgb,
    Bgr,
}

/// The configuration of a name, changed as the options say.
fn named(name: &str, args: &Args) -> Result<ModelConfig> {
    let mut config = ModelConfig::named(name).into_diagnostic()?;
    if let Some((height, width)) = args.image_size {
        config = config.with_image_size(height, width);
    }
    if let Some(channels) = args.channels {
        if !matches!(channels, 1 | 3) {
            return Err(miette!("--channels is {channels}, must be 1 (grey) or 3 (RGB)"));
        }
        let (mean, std) = (config.mean[0], config.std[0]);
        config = config
            .with_channels(channels)
            .with_normalization(vec![mean; channels], vec![std; channels]);
    }
    if let Some(classes) = args.classes {
        config = config.with_classes(classes);
    }
    if let Some(heads) = args.heads
        && !config.architecture.set_heads(heads)
    {
        return Err(miette!("--heads: the channels of {name} cannot be shared by {heads} heads"));
    }
    let dim = match &mut config.architecture {
        Architecture::Cct(cct) => Some(&mut cct.embedding_dim),
        Architecture::Cvt(vit) | Architecture::VitLite(vit) => Some(&mut vit.embedding_dim),
        Architecture::KerasCct(keras) => Some(&mut keras.embedding_dim),
        Architecture::MobileVit(_) => None,
        _ => return Err(miette!("--model: {name} cannot be imported")),
    };
    match (dim, args.embedding_dim) {
        (Some(dim), Some(value)) => *dim = value,
        (None, Some(_)) => return Err(miette!("--embedding-dim: {name} has no such size")),
        (_, None) => {}
    }
    Ok(config)
}

/// The configuration that the weights tell; refuses options that say otherwise.
fn detected(state: &StateDict, args: &Args) -> Result<ModelConfig> {
    let image_size = args.image_size.map(|(height, width)| ImageSize { height, width });
    let hints = Hints { image_size, heads: args.heads };
    let config = state.detect(&hints).into_diagnostic()?;
    let found =
        [("channels", args.channels, config.channels), ("classes", args.classes, config.classes)];
    for (option, asked, found) in found {
        if let Some(asked) = asked
            && asked != found
        {
            let file = args.file.display();
            return Err(miette!("--{option} is {asked}, but {file} has {found} {option}"));
        }
    }
    Ok(config)
}

/// What no weight tells and was not said: how many heads the network has, how images were normalised when
/// it was trained and, where there is no positional embedding or several sizes make as many tokens, their
/// size.
fn assumed(config: &ModelConfig, args: &Args) -> Vec<String> {
    let mut notes = vec![];
    let mobilevit = matches!(config.architecture, Architecture::MobileVit(_));
    if mobilevit && args.image_size.is_none() {
        notes.push(format!(
            "image size: {} assumed, which no weight tells; if the network was trained with \
             another, import it with --image-size",
            config.image_size
        ));
    } else if args.image_size.is_none()
        && args.model.is_none()
        && let Some(smallest) = smallest_alike(config)
    {
        notes.push(format!(
            "image size: {} assumed, the largest of those from {smallest}x{smallest} on that make as \
             many tokens; if the network was trained with another, import it with --image-size",
            config.image_size
        ));
    }
    if args.heads.is_none() && args.model.is_none() {
        notes.push(format!(
            "attention heads: {} assumed, as published; if the network has others, import it with \
             --heads",
            config.architecture.heads()
        ));
    }
    if args.mean.is_none() {
        notes.push(format!(
            "normalisation: mean {} and deviation {} assumed, which no weight tells; if the network \
             was trained with others, import it with --mean and --std{}",
            config.mean[0],
            config.std[0],
            published_normalization(config)
        ));
    }
    notes
}

/// The normalisation that SHI-Labs published for networks of such a size.
fn published_normalization(config: &ModelConfig) -> &'static str {
    let shi_labs = matches!(
        config.architecture,
        Architecture::Cct(_) | Architecture::Cvt(_) | Architecture::VitLite(_)
    );
    match (config.image_size.height, config.classes) {
        _ if config.channels != 3 || !shi_labs => "",
        (32, 10) => {
            " (published for CIFAR-10: --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616)"
        }
        (32, 100) => {
            " (published for CIFAR-100: --mean 0.5071,0.4867,0.4408 --std 0.2675,0.2565,0.2761)"
        }
        (224 | 384, 1000) => {
            " (published for ImageNet: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)"
        }
        _ => "",
    }
}

fn has_positions(config: &ModelConfig) -> bool {
    config.parameters().iter().any(|parameter| parameter.kind.is_position())
}

pub fn run(args: &Args) -> Result<()> {
    // Mistakes in the options come before those in the file.
    let out = args.out.as_deref().unwrap_or(Path::new("best.mpk"));
    if out.extension().is_some_and(|ending| ending == "json") {
        return Err(miette!(
            "--out {}: a configuration is named so; name the checkpoint .mpk",
            out.display()
        ));
    }
    let configuration = picovit_models::record::config_path(out);
    output::check(&[Some(out), Some(&configuration)], &[&args.file])?;
    if args.out.is_none()
        && let Some(there) = [out, &configuration].into_iter().find(|path| path.exists())
    {
        return Err(miette!(
            help = "name another with --out, or the same to replace it",
            "{} is there already; nothing was written",
            there.display()
        ));
    }
    let config = args.model.as_deref().map(|name| named(name, args)).transpose()?;
    let state = match &args.key {
        Some(key) => StateDict::open_below(&args.file, key),
        None => StateDict::open(&args.file),
    };
    let mut state = state.into_diagnostic()?;
    if let Some((height, width)) = args.position_grid {
        if height.max(width) > MAX_EDGE {
            return Err(miette!("--position-grid: {height}x{width} is too large"));
        }
        state = state.with_position_grid(ImageSize { height, width });
    }
    if let Some(order) = args.channel_order {
        state = state.with_bgr(order == ChannelOrder::Bgr);
    }
    let mut config = match config {
        Some(config) => config,
        None => detected(&state, args)?,
    };
    if let (Some(mean), Some(std)) = (&args.mean, &args.std) {
        config = config.with_normalization(mean.clone(), std.clone());
    }
    if !args.labels.is_empty() {
        if args.labels.len() != config.classes {
            return Err(miette!(
                "--labels has {} names for {} classes",
                args.labels.len(),
                config.classes
            ));
        }
        config = config.with_labels(args.labels.clone());
    }
    if let Some(dataset) = &args.dataset {
        config = config.with_dataset(dataset);
    }
    if args.position_grid.is_some() && !has_positions(&config) {
        return Err(miette!("--position-grid: {} has no positional embedding", config.name));
    }
    let noted = args.model.is_none() && state.noted_config().is_some();
    for note in state.save(&config, out).into_diagnostic()? {
        println!("{note}");
    }
    for other in state.left_out() {
        println!("left out: {other}; --key takes another network of the file");
    }
    if args.model.is_some() && state.noted_config().is_some() {
        println!(
            "the file holds its configuration, but --model overrides it; without --model nothing is \
             assumed"
        );
    }
    if !noted {
        for note in assumed(&config, args) {
            println!("{note}");
        }
    }
    let mobilevit = matches!(config.architecture, Architecture::MobileVit(_));
    if !mobilevit && !has_positions(&config) && args.model.is_none() {
        println!("the file has no positional embedding: the network has none");
    }
    let size = config.image_size;
    println!(
        "wrote {} and {}: {} for {size}x{} images and {} classes, {} parameters",
        out.display(),
        configuration.display(),
        config.name,
        config.channels,
        config.classes,
        grouped(config.params())
    );
    Ok(())
}
