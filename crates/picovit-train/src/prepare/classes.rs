//! Class names of a checkpoint, a state and the data, held against each other.

use std::path::Path;

use picovit_models::{ModelConfig, record};

use crate::data::{DataKind, Dataset};
use crate::error::TrainError;
use crate::options::TrainOptions;

/// So many names are listed whole.
const FEW: usize = 12;

/// Whether a checkpoint's classes are those that the data teaches.
pub(super) fn check(
    options: &TrainOptions,
    checkpoint: &Path,
    start: &ModelConfig,
    data: &Dataset,
) -> Result<(), TrainError> {
    let (old, new) = (&start.labels, &data.class_names);
    if options.qat.is_some() && start.classes != new.len() {
        return Err(TrainError::Classes {
            checkpoint: checkpoint.into(),
            classes: start.classes,
            data: data.name.clone(),
            found: new.len(),
        });
    }
    // Imported checkpoints may have no names.
    if old.is_empty() || old == new {
        return Ok(());
    }
    let of = |name: &dyn std::fmt::Display| format!("of {name}");
    let lists = compared(old, new, [&of(&checkpoint.display()), &of(&data.name)]);
    let json = record::config_path(checkpoint);
    let problem = if options.qat.is_some() {
        // Numbers stand for CIFAR's names where the file with the names is missing.
        let fixed = !matches!(options.data.kind, DataKind::Folder(_));
        if fixed && (numbers(old) || numbers(new)) {
            return Ok(());
        }
        format!(
            "knows other classes than {}, {lists}; take the data it was trained on, or correct `labels` in {} if the names are wrong there",
            data.name,
            json.display()
        )
    } else if sorted(old) == sorted(new) {
        format!(
            "has the classes of {} in another order, {lists}; its classifier would answer with the wrong names: rename the class folders so that they sort as the checkpoint's classes do, or correct `labels` in {} if the order is wrong there",
            data.name,
            json.display()
        )
    } else {
        return Ok(());
    };
    Err(TrainError::Labels { checkpoint: checkpoint.into(), problem })
}

/// Two lists of names for people to compare. Of many names only those that differ are listed.
pub(super) fn compared(old: &[String], new: &[String], who: [&str; 2]) -> String {
    let list = |names: &[&String]| {
        let listed = names.iter().take(FEW).map(|name| format!("`{name}`"));
        let mut listed: Vec<String> = listed.collect();
        if names.is_empty() {
            listed.push("none".into());
        }
        if names.len() > FEW {
            listed.push(format!("{} more", names.len() - FEW));
        }
        listed.join(", ")
    };
    let without = |names: &'_ [String], others: &[String]| -> Vec<usize> {
        (0..names.len()).filter(|&i| !others.contains(&names[i])).collect()
    };
    let few = old.len().max(new.len()) <= FEW;
    let (mut a, mut b) = (without(old, new), without(new, old));
    if few {
        (a, b) = ((0..old.len()).collect(), (0..new.len()).collect());
    } else if a.is_empty() && b.is_empty() {
        // The same names in another order.
        a = (0..old.len().min(new.len())).filter(|&i| old[i] != new[i]).collect();
        b.clone_from(&a);
    }
    let a: Vec<_> = a.into_iter().map(|i| &old[i]).collect();
    let b: Vec<_> = b.into_iter().map(|i| &new[i]).collect();
    let what = if few { "classes" } else { "classes that differ" };
    format!("{what} {}: {}; {}: {}", who[0], list(&a), who[1], list(&b))
}

/// Whether the names are the classes' numbers.
fn numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(index, name)| *name == index.to_string())
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_those_that_differ_are_listed() {
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<String>>();
        let text = compared(&names(&["a", "b"]), &names(&["a", "b", "c"]), ["before", "now"]);
        assert_eq!(text, "classes before: `a`, `b`; now: `a`, `b`, `c`");

        let many: Vec<String> = (0..100).map(|i| format!("c{i}")).collect();
        let text = compared(&many, &many[1..], ["before", "now"]);
        assert_eq!(text, "classes that differ before: `c0`; now: none");
        let mut swapped = many.clone();
        swapped.swap(3, 7);
        let text = compared(&many, &swapped, ["before", "now"]);
        assert_eq!(text, "classes that differ before: `c3`, `c7`; now: `c7`, `c3`");
        let text = compared(&many, &names(&["x", "y"]), ["before", "now"]);
        assert!(text.ends_with("`c11`, 88 more; now: `x`, `y`"), "{text}");
    }
}
