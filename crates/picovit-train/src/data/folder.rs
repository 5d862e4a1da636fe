//! Folders of images: one subfolder a class.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, read_image};
use crate::random::{Random, Stream};

/// Names of image files end in one of these.
const EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "bmp", "gif", "webp", "pnm", "ppm", "pgm", "pbm"];

/// Share of the images that tests, where there is no `test` folder.
const TEST_SHARE: f64 = 0.2;

/// Every image file below a folder, sorted.
///
/// # Errors
/// If a folder cannot be read, or there is no image.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = vec![];
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_image(&path) {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        let problem = format!("it holds no image; names end in .{}", EXTENSIONS.join(", ."));
        return Err(DataError::format(folder, problem));
    }
    files.sort();
    Ok(files)
}

/// Loads a part of a folder, every image fitted to one size. A folder whose `train` subfolder
/// holds the classes has its test images in `test` or `val`; any other is split in the same way
/// every time.
pub(super) fn load(
    folder: &Path,
    test: bool,
    size: (usize, usize, usize),
) -> Result<Dataset, DataError> {
    let train_folder = folder.join("train");
    if !is_split(folder)? {
        let (class_names, mut images) = classes(folder)?;
        Random::new(0, 0, Stream::Split).shuffle(&mut images);
        let count = (images.len() as f64 * TEST_SHARE).round() as usize;
        let (test_images, train_images) = images.split_at(count);
        let images = if test { test_images } else { train_images };
        return decode(folder, class_names, images, size);
    }
    let (class_names, images) = classes(&train_folder)?;
    if !test {
        return decode(folder, class_names, &images, size);
    }
    let test_folders = [folder.join("test"), folder.join("val")];
    let Some(test_folder) = test_folders.iter().find(|path| path.is_dir()) else {
        let problem = "it has a `train` subfolder, but neither `test` nor `val`";
        return Err(DataError::format(folder, problem));
    };
    let (test_names, mut images) = classes(test_folder)?;
    // The first of them are of all classes.
    Random::new(0, 0, Stream::Split).shuffle(&mut images);
    if test_names != class_names {
        let problem = format!(
            "its classes ({}) are not those of {} ({})",
            test_names.join(", "),
            train_folder.display(),
            class_names.join(", "),
        );
        return Err(DataError::format(test_folder, problem));
    }
    decode(folder, class_names, &images, size)
}

/// Whether `train` is a part of the data and no class of that name: `test` or `val` lies beside it,
/// or it holds subfolders.
pub(crate) fn is_split(folder: &Path) -> Result<bool, DataError> {
    let train = folder.join("train");
    if !train.is_dir() {
        return Ok(false);
    }
    let beside = ["test", "val"].iter().any(|name| folder.join(name).is_dir());
    Ok(beside || entries(&train)?.iter().any(|path| path.is_dir()))
}

/// Class names, and every image with its class.
type Classes = (Vec<String>, Vec<(PathBuf, u16)>);

fn classes(folder: &Path) -> Result<Classes, DataError> {
    let folders: Vec<_> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    if folders.len() < 2 {
        let found = folders.len();
        let problem =
            format!("it has {found} subfolders; each class takes one, and two is the least");
        return Err(DataError::format(folder, problem));
    }
    let mut names = vec![];
    let mut images = vec![];
    for (class, folder) in folders.iter().enumerate() {
        names.push(class_name(folder)?);
        images.extend(image_files(folder)?.into_iter().map(|path| (path, class as u16)));
    }
    Ok((names, images))
}

/// A class is called like its folder.
fn class_name(folder: &Path) -> Result<String, DataError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.contains('\n') {
        let problem = format!(
            "the name of its class folder {name:?} has a line feed, which separates names in a model; rename the folder"
        );
        return Err(DataError::format(folder.parent().unwrap_or(folder), problem));
    }
    Ok(name)
}

fn decode(
    folder: &Path,
    class_names: Vec<String>,
    images: &[(PathBuf, u16)],
    size: (usize, usize, usize),
) -> Result<Dataset, DataError> {
    let (height, width, channels) = size;
    let mut pixels = Vec::with_capacity(images.len() * height * width * channels);
    for (path, _) in images {
        read_image(path, size, &mut pixels)?;
    }
    let labels = images.iter().map(|(_, class)| *class).collect();
    let name = folder.display().to_string();
    Ok(Dataset { name, height, width, channels, pixels, labels, class_names })
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Entries of a folder, sorted; hidden ones are left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = |source| DataError::Read { path: folder.into(), source };
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
