//! Loaders, on files written in the published formats.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, Rgb, RgbImage};
use picovit_train::data::{
    DataError, DataKind, DataSource, Dataset, Split, export_calibration, image_files,
};
use tempfile::{TempDir, tempdir};

fn assert_fails<T: std::fmt::Debug>(result: Result<T, DataError>, expected: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn idx(extents: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, extents.len() as u8];
    extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
    bytes.extend(content);
    bytes
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Five images of 2x3 pixels.
fn fashion(folder: &Path) -> DataSource {
    let pixels: Vec<u8> = (0..30).collect();
    fs::write(folder.join("train-images-idx3-ubyte"), idx(&[5, 2, 3], &pixels)).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte.gz"), gzip(&idx(&[5], &[0, 9, 1, 2, 3])))
        .unwrap();
    DataSource::named("fashion-mnist", Some(folder.into())).unwrap()
}

#[test]
fn idx_files_load_plain_and_gzipped() {
    let folder = tempdir().unwrap();
    let data = fashion(folder.path()).load_for(Split::Train, 2, 3, 1).unwrap();
    assert_eq!((data.len(), data.height, data.width, data.channels), (5, 2, 3, 1));
    assert_eq!(data.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!(data.labels, [0, 9, 1, 2, 3]);
    assert_eq!(data.class_names[9], "Ankle boot");
}

#[test]
fn images_are_fitted_to_the_model() {
    let folder = tempdir().unwrap();
    let data = fashion(folder.path()).load_for(Split::Train, 4, 5, 3).unwrap();
    let row =
        |values: [u8; 3]| [[0; 3], [values[0]; 3], [values[1]; 3], [values[2]; 3], [0; 3]].concat();
    let expected = [vec![0; 15], row([6, 7, 8]), row([9, 10, 11]), vec![0; 15]].concat();
    assert_eq!(data.image(1), expected);
}

#[test]
fn damaged_idx_files_are_named() {
    let check = |name: &str, content: &[u8], expected: &[&str]| {
        let folder = tempdir().unwrap();
        let source = fashion(folder.path());
        fs::remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[5], &[0; 5])).unwrap();
        fs::write(folder.path().join(name), content).unwrap();
        assert_fails(source.load_for(Split::Train, 2, 3, 1), &[name]);
        assert_fails(source.load_for(Split::Train, 2, 3, 1), expected);
    };
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    check(images, &[0, 0], &["header takes 16 bytes, the file has 2"]);
    check(images, &idx(&[30], &[0; 30]), &["magic number is 0x00000801"]);
    check(images, &idx(&[5, 2, 3], &[0; 29]), &["promises 5 x 2 x 3 bytes", "holds 29"]);
    check(images, &idx(&[u32::MAX; 3], &[0; 9]), &["truncated or damaged"]);
    check(
        labels,
        &idx(&[1, 1, 5], &[0; 5]),
        &["magic number is 0x00000803", "labels has 0x00000801"],
    );
    check(labels, &idx(&[4], &[0; 4]), &["4 labels for the 5 images"]);
    check(labels, &idx(&[5], &[0, 1, 10, 3, 4]), &["label 2 is 10"]);
}

#[test]
fn a_truncated_gzip_file_is_named() {
    let folder = tempdir().unwrap();
    let source = fashion(folder.path());
    let path = folder.path().join("train-labels-idx1-ubyte.gz");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 6]).unwrap();
    assert_fails(
        source.load_for(Split::Train, 2, 3, 1),
        &["cannot read", "train-labels-idx1-ubyte.gz"],
    );
}

#[test]
fn a_folder_that_was_asked_for_is_the_only_one() {
    let root = tempdir().unwrap();
    let missing = root.path().join("typo");
    let source = DataSource::named("fashion-mnist", Some(missing.clone())).unwrap();
    for split in [Split::Train, Split::Test, Split::Calibration(3)] {
        let said = source.load_for(split, 28, 28, 1).unwrap_err().to_string();
        let searched = format!("is in none of {};", missing.display());
        assert!(said.contains(&searched), "{said}");
    }
}

#[test]
fn calibration_images_are_the_same_every_time() {
    let folder = tempdir().unwrap();
    let source = fashion(folder.path());
    let five = source.load_for(Split::Calibration(5), 2, 3, 1).unwrap();
    let three = source.load_for(Split::Calibration(3), 2, 3, 1).unwrap();
    assert_eq!(five.select(&[0, 1, 2]), three);
    let mut labels = five.labels.clone();
    labels.sort();
    assert_eq!(labels, [0, 1, 2, 3, 9]);

    // What is exported is what would have been drawn.
    let exported = tempdir().unwrap();
    export_calibration(Some(folder.path()), 3, exported.path()).unwrap();
    let train = |kind: &str, dimensions: &str| {
        let name = |prefix: &str| format!("{prefix}-{kind}-{dimensions}-ubyte.gz");
        fs::rename(exported.path().join(name("calibration")), exported.path().join(name("train")))
            .unwrap();
    };
    train("images", "idx3");
    train("labels", "idx1");
    let source = DataSource { dir: Some(exported.path().into()), ..source };
    let mut loaded = source.load_for(Split::Train, 2, 3, 1).unwrap();
    loaded.name.clone_from(&three.name);
    assert_eq!(loaded, three);
}

/// Writes records of CIFAR's binary version; image `i` has red `i`, green `i + 1`, blue `i + 2`.
fn cifar(path: &Path, labels: &[&[u8]]) {
    let record = |(i, labels): (usize, &&[u8])| {
        let planes = (0..3).flat_map(move |plane| vec![(i + plane) as u8; 1024]);
        labels.iter().copied().chain(planes).collect::<Vec<u8>>()
    };
    let content: Vec<u8> = labels.iter().enumerate().flat_map(record).collect();
    fs::write(path, content).unwrap();
}

fn cifar10(root: &TempDir) -> DataSource {
    let folder = root.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    for batch in 1..=5u8 {
        cifar(&folder.join(format!("data_batch_{batch}.bin")), &[&[batch], &[9]]);
    }
    cifar(&folder.join("test_batch.bin"), &[&[7]]);
    DataSource::named("cifar-10", Some(root.path().into())).unwrap()
}

#[test]
fn cifar_10_loads() {
    let root = tempdir().unwrap();
    let source = cifar10(&root);
    let train = source.load_for(Split::Train, 32, 32, 3).unwrap();
    assert_eq!(train.labels, [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
    assert_eq!(train.image(1)[..6], [1, 2, 3, 1, 2, 3]);
    assert_eq!(train.class_names[3], "3");
    let test = source.load_for(Split::Test, 32, 32, 3).unwrap();
    assert_eq!(test.labels, [7]);
    let folder = root.path().join("cifar-10-batches-bin");
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    fs::write(folder.join("batches.meta.txt"), names).unwrap();
    let source = DataSource { dir: Some(folder.clone()), ..source };
    assert_eq!(source.load_for(Split::Test, 32, 32, 3).unwrap().class_names[3], "cat");
    fs::write(folder.join("batches.meta.txt"), "airplane\n").unwrap();
    assert_fails(
        source.load_for(Split::Test, 32, 32, 3),
        &["batches.meta.txt", "names 1 classes of 10"],
    );
}

#[test]
fn cifar_100_takes_the_fine_label() {
    let root = tempdir().unwrap();
    let folder = root.path().join("cifar-100-binary");
    fs::create_dir(&folder).unwrap();
    cifar(&folder.join("train.bin"), &[&[19, 99], &[3, 0]]);
    cifar(&folder.join("test.bin"), &[&[0, 42]]);
    let source = DataSource::named("cifar-100", Some(root.path().into())).unwrap();
    assert_eq!(source.load_for(Split::Train, 32, 32, 3).unwrap().labels, [99, 0]);
    assert_eq!(source.load_for(Split::Test, 32, 32, 3).unwrap().labels, [42]);
}

#[test]
fn damaged_cifar_files_are_named() {
    let root = tempdir().unwrap();
    let source = cifar10(&root);
    let folder = root.path().join("cifar-10-batches-bin");
    let load = || source.load_for(Split::Train, 32, 32, 3);
    cifar(&folder.join("data_batch_3.bin"), &[&[1], &[10]]);
    assert_fails(load(), &["data_batch_3.bin", "label of record 1 is 10"]);
    fs::write(folder.join("data_batch_3.bin"), [0; 3000]).unwrap();
    assert_fails(load(), &["data_batch_3.bin", "3000 bytes", "records of 3073"]);
    fs::remove_file(folder.join("data_batch_3.bin")).unwrap();
    assert_fails(load(), &["cannot read", "data_batch_3.bin"]);
    let nowhere = DataSource { dir: None, ..source.clone() };
    assert_fails(nowhere.load_for(Split::Test, 32, 32, 3), &["cifar-10", "--data-dir"]);
    let empty = tempdir().unwrap();
    let elsewhere = DataSource { dir: Some(empty.path().into()), ..source };
    assert_fails(elsewhere.load_for(Split::Test, 32, 32, 3), &["test_batch.bin", "--data-dir"]);
}

/// `count` images for each of two classes.
fn images(folder: &Path, count: u8) {
    for (class, value) in [("cat", 10), ("dog", 100)] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..count {
            let path = folder.join(class).join(format!("{i}.png"));
            RgbImage::from_pixel(4, 4, Rgb([value + i, 0, 0])).save(path).unwrap();
        }
    }
}

fn folder(path: &Path) -> DataSource {
    DataSource::named(path.to_str().unwrap(), None).unwrap()
}

#[test]
fn image_folders_load_with_their_own_split() {
    let root = tempdir().unwrap();
    images(&root.path().join("train"), 3);
    images(&root.path().join("val"), 1);
    fs::write(root.path().join("train/cat/notes.txt"), "no image").unwrap();
    fs::write(root.path().join("train/cat/.hidden.png"), "no image").unwrap();
    GrayImage::new(1, 1).save(root.path().join("train/dog/grey.PNG")).unwrap();
    let source = folder(root.path());
    assert_eq!(source.kind, DataKind::Folder(root.path().into()));
    let train = source.load_for(Split::Train, 2, 2, 3).unwrap();
    assert_eq!(train.class_names, ["cat", "dog"]);
    assert_eq!(train.labels, [0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(train.image(4)[..6], [101, 0, 0, 101, 0, 0]);
    assert_eq!(source.load_for(Split::Test, 2, 2, 3).unwrap().labels, [0, 1]);
    assert_eq!(image_files(root.path()).unwrap().len(), 9);
}

#[test]
fn image_folders_without_a_split_are_split_the_same_way_every_time() {
    let root = tempdir().unwrap();
    images(root.path(), 10);
    let source = folder(root.path());
    let load = |split| source.load_for(split, 4, 4, 3).unwrap();
    let (train, test) = (load(Split::Train), load(Split::Test));
    assert_eq!((train.len(), test.len()), (16, 4));
    assert_eq!((load(Split::Train), load(Split::Test)), (train.clone(), test.clone()));
    let red = |data: &Dataset| (0..data.len()).map(|i| data.image(i)[0]).collect::<Vec<_>>();
    let mut all = [red(&train), red(&test)].concat();
    all.sort();
    assert_eq!(all, (10..20).chain(100..110).collect::<Vec<u8>>());
    assert_eq!(load(Split::Calibration(5)).len(), 5);
    assert_eq!(load(Split::Calibration(500)).len(), 16);
}

#[test]
fn a_class_may_be_called_train() {
    let root = tempdir().unwrap();
    images(root.path(), 10);
    fs::rename(root.path().join("dog"), root.path().join("train")).unwrap();
    let train = folder(root.path()).load_for(Split::Train, 4, 4, 3).unwrap();
    assert_eq!(
        (train.class_names.as_slice(), train.len()),
        (&["cat".into(), "train".into()][..], 16)
    );
    // With `val` beside it, it is a split, and one without classes.
    fs::create_dir(root.path().join("val")).unwrap();
    assert_fails(folder(root.path()).load_for(Split::Train, 4, 4, 3), &["train", "0 subfolders"]);
}

#[cfg(unix)]
#[test]
fn names_of_classes_are_one_line() {
    let root = tempdir().unwrap();
    images(root.path(), 2);
    fs::rename(root.path().join("dog"), root.path().join("hot\ndog")).unwrap();
    let loaded = folder(root.path()).load_for(Split::Train, 4, 4, 3);
    let path = root.path().display().to_string();
    assert_fails(loaded, &[&path, r#""hot\ndog""#, "line feed", "rename"]);
}

#[test]
fn image_folders_that_are_none_say_what_is_wrong() {
    let root = tempdir().unwrap();
    let load = |split| folder(root.path()).load_for(split, 4, 4, 3);
    assert_fails(load(Split::Train), &["0 subfolders"]);
    images(root.path(), 2);
    fs::create_dir(root.path().join("emu")).unwrap();
    assert_fails(load(Split::Train), &["emu", "no image"]);
    fs::remove_dir(root.path().join("emu")).unwrap();
    fs::write(root.path().join("dog/9.jpg"), "no image at all").unwrap();
    let broken = [load(Split::Train), load(Split::Test)].into_iter().find(Result::is_err);
    assert_fails(broken.unwrap(), &["cannot decode the image", "9.jpg"]);
    images(&root.path().join("train"), 1);
    assert_fails(load(Split::Test), &["neither `test` nor `val`"]);
    fs::create_dir_all(root.path().join("test/cat")).unwrap();
    fs::create_dir_all(root.path().join("test/fox")).unwrap();
    GrayImage::new(1, 1).save(root.path().join("test/cat/0.png")).unwrap();
    GrayImage::new(1, 1).save(root.path().join("test/fox/0.png")).unwrap();
    assert_fails(load(Split::Test), &["cat, fox", "cat, dog"]);
    assert_fails(DataSource::named("no-such-set", None), &["`no-such-set`", "fashion-mnist"]);
}

#[test]
fn statistics_are_those_of_the_pixels() {
    let data = Dataset {
        name: "two pixels".into(),
        height: 1,
        width: 2,
        channels: 3,
        pixels: vec![0, 51, 10, 255, 51, 30],
        labels: vec![0],
        class_names: vec![],
    };
    let (mean, std) = data.statistics();
    let close = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found}");
    close(mean[0], 0.5);
    close(std[0], 0.5);
    close(mean[1], 0.2);
    close(std[1], 1.0 / 255.0);
    close(std[2], 10.0 / 255.0);
}
