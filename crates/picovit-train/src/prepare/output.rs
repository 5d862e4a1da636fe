//! The output folder: what a run may write over, and what it may go on from.

use std::fs;
use std::io;
use std::mem::discriminant;
use std::path::{Path, PathBuf};

use super::classes::compared;
use crate::data::{DataKind, Dataset, is_split};
use crate::error::TrainError;
use crate::options::TrainOptions;
use crate::state::{DataRecord, State, StateDir};

/// The state to resume from, or none for a new run.
pub(crate) fn open(dir: &StateDir, options: &TrainOptions) -> Result<Option<State>, TrainError> {
    let out = &options.out_dir;
    if let Some(path) = out.ancestors().find(|path| path.exists())
        && !path.is_dir()
    {
        let problem = format!("needs a folder, but {} is a file; name another", path.display());
        return Err(TrainError::Option { option: "out", problem });
    }
    keep_sources(options)?;
    let path = dir.index();
    let fail = |problem: String| dir.explain(TrainError::State { path: path.clone(), problem });
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !options.resume {
                return fresh(options).map(|()| None);
            }
            return Err(match dir.best() {
                Some(_) => fail("it is missing".into()),
                None => TrainError::NothingToResume(out.clone()),
            });
        }
        Err(error) => return Err(fail(error.to_string())),
        Ok(_) if !options.resume => return Err(TrainError::Occupied(out.clone())),
        Ok(text) => text,
    };
    let state: State = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    let epochs = 1..=state.epoch;
    if state.history.len() != state.epoch || !epochs.contains(&state.best_epoch) {
        return Err(fail("the epochs do not add up".into()));
    }
    let differences = differences(&state.options, options);
    if !differences.is_empty() {
        return Err(TrainError::OtherOptions { path: out.clone(), differences });
    }
    Ok(Some(state))
}

/// Whether a new run loses nothing that is there, and is not taken for data.
fn fresh(options: &TrainOptions) -> Result<(), TrainError> {
    if let DataKind::Folder(folder) = &options.data.kind
        && is_class(&options.out_dir, folder)
    {
        let folder = folder.display();
        let problem = format!(
            "lies in the data set {folder}, which would take it for a class; choose a folder beside it"
        );
        return Err(TrainError::Option { option: "out", problem });
    }
    let files = ["best.mpk", "best.json"].map(|name| options.out_dir.join(name));
    match files.into_iter().find(|path| path.exists()) {
        Some(path) => Err(TrainError::Overwrites(path)),
        None => Ok(()),
    }
}

/// Whether files in `out` would lie where a data set has its classes.
fn is_class(out: &Path, data: &Path) -> bool {
    let Ok(data) = data.canonicalize() else { return false };
    // Some of its folders may have to be made yet.
    let there = out.ancestors().find_map(|path| {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        Some((path.canonicalize().ok()?, out.strip_prefix(path).unwrap_or(out)))
    });
    let Some(out) = there.map(|(path, rest)| path.join(rest)) else { return false };
    let Ok(inside) = out.strip_prefix(&data) else { return false };
    let parts = ["train", "test", "val"];
    let part = inside.components().next().is_some_and(|first| {
        parts.iter().any(|part| first.as_os_str() == std::ffi::OsStr::new(part))
    });
    part || !is_split(&data).unwrap_or(false)
}

/// Whether the checkpoints that the run reads are none of the files that it writes: a run that
/// resumes would read its own network back.
fn keep_sources(options: &TrainOptions) -> Result<(), TrainError> {
    // The weights that a run started from are not read again, but those of a teacher are.
    let read = !options.resume || options.qat.is_some();
    let from = options.from.iter().filter(|_| read).map(|path| ("from", path));
    let teachers = options.distillation.iter().flat_map(|d| &d.teachers);
    let mut sources = from.chain(teachers.map(|path| ("teacher", path)));
    match sources.find(|(_, path)| is_output(path, &options.out_dir)) {
        None => Ok(()),
        Some((option, path)) => {
            let path = path.display();
            let problem =
                format!("is {path}, which the run would write over; choose another --out folder");
            Err(TrainError::Option { option, problem })
        }
    }
}

/// Whether a run with the folder `out` writes or removes the checkpoint or its configuration.
fn is_output(checkpoint: &Path, out: &Path) -> bool {
    let Ok(out) = out.canonicalize() else { return false };
    // The entry that a rename would replace, and the file that a link leads to.
    let entry = checkpoint.file_name().and_then(|name| {
        let parent = checkpoint.parent().filter(|parent| *parent != Path::new(""));
        Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(name))
    });
    let file = checkpoint.canonicalize().ok();
    let written = |path: PathBuf| {
        let configuration = out.join("best.json");
        path == out.join("best.mpk")
            || path == configuration
            || picovit_models::record::config_path(&path) == configuration
            || path.starts_with(out.join("state"))
    };
    entry.into_iter().chain(file).any(written)
}

/// Options that differ; where the data lies does not matter.
fn differences(old: &TrainOptions, new: &TrainOptions) -> Vec<String> {
    let same_data = discriminant(&old.data.kind) == discriminant(&new.data.kind);
    let value = |options: &TrainOptions| serde_json::to_value(options).expect("plain data");
    let (old, new) = (value(old), value(new));
    let fields = old.as_object().expect("options are a map").iter();
    let differing = fields.filter_map(|(field, old)| {
        let (old, new) = match field.as_str() {
            "data" if same_data => return None,
            "data" => (&old["kind"], &new[field]["kind"]),
            _ => (old, &new[field]),
        };
        let text = match field.as_str() {
            "model" => field.clone(),
            _ => format!("{field} was {old}, is {new}"),
        };
        (old != new).then_some(text)
    });
    differing.collect()
}

/// Whether the data is what the run has learned from.
pub(super) fn same_data(
    state: &State,
    options: &TrainOptions,
    data: &Dataset,
) -> Result<(), TrainError> {
    let (found, model) = (DataRecord::of(data), &state.model);
    // Older states know no more than the network's classes, perhaps without their names.
    let names = match &state.data {
        Some(record) => &record.class_names,
        None => &model.labels,
    };
    let mut differences = vec![];
    if !names.is_empty() && *names != found.class_names {
        differences.push(compared(names, &found.class_names, ["before", "now"]));
    } else if model.classes != found.class_names.len() {
        let now = found.class_names.len();
        differences.push(format!("classes before: {}; now: {now}", model.classes));
    }
    match &state.data {
        Some(record) if record.images != found.images => {
            let (before, now) = (record.images, found.images);
            differences.push(format!("training images before: {before}; now: {now}"));
        }
        _ => {}
    }
    if differences.is_empty() {
        return Ok(());
    }
    let dir = StateDir::new(&options.out_dir);
    Err(TrainError::OtherData {
        path: options.out_dir.clone(),
        data: data.name.clone(),
        problem: format!("{}{}", differences.join("; "), dir.remedy("the data")),
    })
}
