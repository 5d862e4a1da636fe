//! Test sets and calibration images for the commands.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};
use picovit::image::{Frame, PixelFormat, fit};
use picovit_models::ModelConfig;
use picovit_train::data::{DataSource, Dataset, Split};

/// Loads a split of a data set, by name or as a folder of images, at the size a model takes.
pub fn load(
    name: &str,
    dir: Option<PathBuf>,
    split: Split,
    (height, width, channels): (usize, usize, usize),
) -> Result<Dataset> {
    let source = DataSource::named(name, dir).into_diagnostic()?;
    let data = source.load_for(split, height, width, channels).into_diagnostic()?;
    Ok(data.fit(height, width, channels))
}

/// The data set of that name, else the one a model was trained on.
pub fn name(given: Option<&str>, config: &ModelConfig, remedy: &str) -> Result<String> {
    given.map(str::to_owned).or_else(|| config.dataset.clone()).ok_or_else(|| {
        miette!(
            help = format!("name a data set or a folder of images with {remedy}"),
            "the configuration of {} does not say what the model was trained on",
            config.name
        )
    })
}

/// Up to `count` calibration images at the size a model takes: of a folder, of a data set's
/// training images, or of the data set that the model was trained on.
pub fn calibration(
    given: Option<&str>,
    dir: Option<PathBuf>,
    config: &ModelConfig,
    count: usize,
) -> Result<Vec<Vec<u8>>> {
    let size = (config.image_size.height, config.image_size.width, config.channels);
    let images: Vec<Vec<u8>> = match given.map(Path::new).filter(|path| path.is_dir()) {
        Some(folder) => folder_images(folder, count, size)?,
        None => {
            let name = name(given, config, "--calibration")?;
            let data = load(&name, dir, Split::Calibration(count), size)?;
            (0..data.len().min(count)).map(|i| data.image(i).to_vec()).collect()
        }
    };
    if images.len() < count {
        eprintln!("calibrating on {} images, {count} were asked for", images.len());
    }
    Ok(images)
}

/// Up to `count` images below a folder, spread evenly over all there are.
fn folder_images(folder: &Path, count: usize, size: (usize, usize, usize)) -> Result<Vec<Vec<u8>>> {
    let files = picovit_train::data::image_files(folder).into_diagnostic()?;
    let step = (files.len() / count).max(1);
    let chosen = files.iter().step_by(step).take(count);
    chosen.map(|file| image(file, size.0, size.1, size.2)).collect()
}

/// Images with their labels, as the drift functions take them.
pub fn labelled(data: &Dataset, limit: usize) -> Vec<(&[u8], usize)> {
    (0..data.len().min(limit)).map(|i| (data.image(i), usize::from(data.labels[i]))).collect()
}

/// Fails unless a data set has the classes of a model.
pub fn check_classes(data: &Dataset, classes: usize, model: &Path) -> Result<()> {
    let largest = data.labels.iter().max().copied().map_or(0, usize::from);
    if data.is_empty() {
        return Err(miette!("{}: the data set holds no image", data.name));
    }
    if largest >= classes || data.class_names.len() != classes {
        return Err(miette!(
            help = "choose the data set the model was trained on with --dataset",
            "{} has {classes} classes, {} has {}",
            model.display(),
            data.name,
            data.class_names.len().max(largest + 1)
        ));
    }
    Ok(())
}

/// Decodes an image file and fits it to a model's input, as raw pixels.
pub fn image(path: &Path, height: usize, width: usize, channels: usize) -> Result<Vec<u8>> {
    let help = "PNG, JPEG, BMP, GIF, WebP and PNM files can be read";
    let image = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|error| {
            let help = "check that the path is right and that it may be read";
            miette!(help = help, "cannot read {}: {error}", path.display())
        })?
        .decode()
        .map_err(|error| miette!(help = help, "cannot decode {}: {error}", path.display()))?;
    let grey = !image.color().has_color();
    let (columns, rows) = (image.width() as usize, image.height() as usize);
    let pixels = if grey { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    let format = if grey { PixelFormat::Gray8 } else { PixelFormat::Rgb888 };
    let frame = Frame { width: columns, height: rows, format, pixels: &pixels };
    let mut out = vec![0i8; height * width * channels];
    fit(&frame, height, width, channels, &mut out)
        .map_err(|error| miette!("{}: {error}", path.display()))?;
    Ok(out.into_iter().map(|v| v as u8 ^ 0x80).collect())
}
