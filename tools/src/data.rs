//! Test sets and calibration images for the commands.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};
use picovit_models::ModelConfig;
use picovit_models::record::config_path;
use picovit_train::data::{DataSource, Dataset, Split, read_image, sample_files};

/// A data set by name, or a folder of images, and who named it.
#[derive(Clone, Debug)]
pub struct Name {
    name: String,
    /// What to say if there is none of that name: where the name is from, and how to give another one.
    recorded: Option<String>,
}

impl Name {
    /// That of an option, else the one that a model was trained on, as it says itself.
    pub fn of(
        given: Option<&str>,
        recorded: Option<&str>,
        model: &Path,
        remedy: &str,
    ) -> Result<Self> {
        if let Some(name) = given {
            return Ok(Self { name: name.to_owned(), recorded: None });
        }
        let Some(name) = recorded else {
            return Err(miette!(
                help = format!("name a data set or a folder of images with {remedy}"),
                "{} does not say what the model was trained on",
                model.display()
            ));
        };
        let from = format!("{} says so; name another one with {remedy}", model.display());
        Ok(Self { name: name.to_owned(), recorded: Some(from) })
    }
}

/// Loads a split of a data set, by name or as a folder of images, at the size a model takes.
pub fn load(
    Name { name, recorded }: &Name,
    dir: Option<PathBuf>,
    split: Split,
    (height, width, channels): (usize, usize, usize),
) -> Result<Dataset> {
    let source = DataSource::named(name, dir).map_err(|error| match recorded {
        Some(help) => miette!(help = help.clone(), "{error}"),
        None => miette!("{error}"),
    })?;
    let data = source.load_for(split, height, width, channels).into_diagnostic()?;
    Ok(data.fit(height, width, channels))
}

/// Up to `count` calibration images at the size a model takes: of a folder, of a data set's
/// training images, or of the data set that the model was trained on.
pub fn calibration(
    given: Option<&str>,
    dir: Option<PathBuf>,
    checkpoint: &Path,
    config: &ModelConfig,
    count: usize,
) -> Result<Vec<Vec<u8>>> {
    let size = (config.image_size.height, config.image_size.width, config.channels);
    let images: Vec<Vec<u8>> = match given.map(Path::new).filter(|path| path.is_dir()) {
        Some(folder) => folder_images(folder, count, size)?,
        None => {
            let said = config_path(checkpoint);
            let name = Name::of(given, config.dataset.as_deref(), &said, "--calibration")?;
            let data = load(&name, dir, Split::Calibration(count), size)?;
            (0..data.len().min(count)).map(|i| data.image(i).to_vec()).collect()
        }
    };
    if images.len() < count {
        eprintln!("calibrating on {} images, {count} were asked for", images.len());
    }
    Ok(images)
}

/// Up to `count` images below a folder, of all its parts.
fn folder_images(folder: &Path, count: usize, size: (usize, usize, usize)) -> Result<Vec<Vec<u8>>> {
    let files = sample_files(folder, count).into_diagnostic()?;
    files.iter().map(|file| image(file, size)).collect()
}

/// Images with their labels, as the drift functions take them.
pub fn labelled(data: &Dataset, limit: usize) -> Vec<(&[u8], usize)> {
    (0..data.len().min(limit)).map(|i| (data.image(i), usize::from(data.labels[i]))).collect()
}

/// Fails unless a data set has the classes of a model, whose names are `labels` if it has any, in the
/// same order. Other names of the same number may be translations: they are shown.
pub fn check_classes(
    data: &Dataset,
    classes: usize,
    labels: &[String],
    model: &Path,
) -> Result<()> {
    let largest = data.labels.iter().max().copied().map_or(0, usize::from);
    if data.is_empty() {
        return Err(miette!("{}: the data set holds no image", data.name));
    }
    let model = model.display();
    if largest >= classes || data.class_names.len() != classes {
        return Err(miette!(
            help = "choose the data set the model was trained on with --dataset",
            "{model} has {classes} classes, {} has {}",
            data.name,
            data.class_names.len().max(largest + 1)
        ));
    }
    if labels.is_empty() || labels == data.class_names {
        return Ok(());
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let (ours, theirs) = (labels.join(", "), data.class_names.join(", "));
    if sorted(labels) == sorted(&data.class_names) {
        return Err(miette!(
            help = "name the folders so that they sort in the model's order, or import the model with --labels \
                    in the folders' order if that is what it was trained with",
            "the classes of {model} are {ours}, in this order, and those of {} are {theirs}",
            data.name
        ));
    }
    eprintln!(
        "warning: the classes of {model} are called {ours}, those of {} {theirs}; they are compared by number",
        data.name
    );
    Ok(())
}

/// Decodes an image file and fits it to a model's input, as raw pixels.
pub fn image(path: &Path, size: (usize, usize, usize)) -> Result<Vec<u8>> {
    let mut pixels = Vec::with_capacity(size.0 * size.1 * size.2);
    read_image(path, size, &mut pixels).into_diagnostic()?;
    Ok(pixels)
}
