//! Fashion-MNIST.

use std::path::{Path, PathBuf};

use super::source::sample;
use super::{DataError, Dataset, Split, idx};

/// Class names in label order.
const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Where the Debian package `dataset-fashion-mnist` puts the files.
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

/// The repository's own copy: the test images, and calibration images drawn from the others.
const SHIPPED: &str = "models/cct_2_3x2_fmnist/data";

/// Loads a split at its own size, 28x28.
pub(super) fn load(dir: Option<&Path>, split: Split) -> Result<Dataset, DataError> {
    match split {
        Split::Train => read(&folders(dir), "train"),
        Split::Test => read(&folders(dir), "t10k"),
        Split::Calibration(count) => match read(&folders(dir), "train") {
            Ok(train) => Ok(sample(&train, count)),
            Err(DataError::NotFound { .. }) => {
                // A sample of the training images in the order of the draw.
                let shipped = read(&folders(dir), "calibration")?;
                Ok(shipped.select(&(0..count.min(shipped.len())).collect::<Vec<_>>()))
            }
            Err(error) => Err(error),
        },
    }
}

/// Writes the first `count` calibration images, so that a repository can do without the
/// training images: `calibration-images-idx3-ubyte.gz` and its labels.
///
/// # Errors
/// If the training images are not found or a file cannot be written.
pub fn export_calibration(
    dir: Option<&Path>,
    count: usize,
    out: &Path,
) -> Result<usize, DataError> {
    let data = sample(&read(&folders(dir), "train")?, count);
    let labels: Vec<u8> = data.labels.iter().map(|&label| label as u8).collect();
    let path = |kind| out.join(format!("calibration-{kind}-ubyte.gz"));
    idx::write(&path("images-idx3"), &[data.len(), data.height, data.width], &data.pixels)?;
    idx::write(&path("labels-idx1"), &[data.len()], &labels)?;
    Ok(data.len())
}

/// Folders to look into, in this order: the one that was asked for, or those that usually have it.
fn folders(dir: Option<&Path>) -> Vec<PathBuf> {
    if let Some(dir) = dir {
        return vec![dir.into()];
    }
    let mut folders = vec![PathBuf::from(DEBIAN)];
    if let Ok(current) = std::env::current_dir() {
        folders.extend(current.ancestors().map(|a| a.join(SHIPPED)).filter(|path| path.is_dir()));
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(SHIPPED);
    if built.is_dir() && folders.len() < 3 {
        folders.push(built);
    }
    folders
}

fn read(folders: &[PathBuf], prefix: &str) -> Result<Dataset, DataError> {
    let names = [format!("{prefix}-images-idx3-ubyte"), format!("{prefix}-labels-idx1-ubyte")];
    let pair = |folder: &PathBuf| Some([find(folder, &names[0])?, find(folder, &names[1])?]);
    let [images_path, labels_path] =
        folders.iter().find_map(pair).ok_or_else(|| DataError::NotFound {
            data: "Fashion-MNIST".into(),
            files: names.iter().map(|name| format!("{name}[.gz]")).collect(),
            searched: folders.to_vec(),
        })?;
    let images = idx::images(&images_path)?;
    let labels = idx::labels(&labels_path)?;
    let count = images.pixels.len() / (images.height * images.width);
    if labels.len() != count {
        let found = labels.len();
        let problem =
            format!("it holds {found} labels for the {count} images of {}", images_path.display());
        return Err(DataError::format(&labels_path, problem));
    }
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES.len()) {
        let problem = format!("label {index} is {}, must be 0 to 9", labels[index]);
        return Err(DataError::format(&labels_path, problem));
    }
    Ok(Dataset {
        name: "fashion-mnist".into(),
        height: images.height,
        width: images.width,
        channels: 1,
        pixels: images.pixels,
        labels: labels.into_iter().map(u16::from).collect(),
        class_names: CLASSES.map(String::from).to_vec(),
    })
}

/// The file, plain or gzipped.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let paths = [folder.join(name), folder.join(format!("{name}.gz"))];
    paths.into_iter().find(|path| path.is_file())
}
