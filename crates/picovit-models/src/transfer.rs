//! Weights of a checkpoint as the start of another training.

use std::path::Path;

use burn::backend::Flex;
use burn::tensor::backend::Backend;

use crate::config::ModelConfig;
use crate::import::positions;
use crate::network::Network;
use crate::record::{self, RecordError};
use crate::tensors;
use crate::weights::Initializer;

/// Loads a checkpoint's weights into a network that may have other classes and another image size
/// than the checkpoint's: the classifier of another number of classes starts anew, its draws
/// depending on `seed`, and the positional embedding is resampled. Returns what was changed, too.
///
/// # Errors
/// If the checkpoint cannot be read, or anything else differs.
pub fn transfer<B: Backend>(
    path: &Path,
    config: &ModelConfig,
    seed: u64,
    device: &B::Device,
) -> Result<(Network<B>, Vec<String>), RecordError> {
    let from = record::load_config(path)?;
    let grids = [&from, config].map(|c| c.architecture.token_grid(c.image_size));
    let (old_specs, specs) = (from.parameters(), config.parameters());
    let [old_heads, heads] = [&from, config].map(|config| config.architecture.heads());
    if old_heads != heads {
        let problems = vec![format!("it has {old_heads} attention heads, must have {heads}")];
        let model = config.name.clone();
        return Err(RecordError::OtherNetwork { path: path.into(), model, problems });
    }
    let mut notes = Vec::from_iter(other_names(&from.labels, &config.labels));
    if old_specs == specs && grids[0] == grids[1] {
        return Ok((record::load_weights(path, config, device)?, notes));
    }
    let (model, _) = record::load::<Flex>(path, &Default::default())?;
    let old = tensors::parameters(&record::to_bytes(&model), &from);
    let mut old = old.expect("a record holds the network it was made of");
    let mut parameters = Initializer::new(seed).draw(&specs);
    let mut problems = vec![];
    for spec in &specs {
        let (name, shape) = (&spec.name, &spec.shape);
        let Some(old_spec) = old_specs.iter().find(|old| old.name == *name) else {
            problems.push(format!("{name} {shape:?} is missing"));
            continue;
        };
        let values = old.take(name);
        match grids {
            [Some(from), Some(to)]
                if spec.kind.is_position()
                    && old_spec.shape[2] == shape[2]
                    && old_spec.shape[1].checked_sub(from.area())
                        == shape[1].checked_sub(to.area()) =>
            {
                parameters
                    .insert(spec, positions::moved(name, &values, spec, [from, to], &mut notes));
            }
            _ if old_spec.shape == *shape => parameters.insert(spec, values),
            _ if name.starts_with("fc.") && old_spec.shape[1..] == shape[1..] => {
                let (before, after) = (old_spec.shape[0], shape[0]);
                notes.push(format!("{name}: starts anew for {after} classes, had {before}"));
            }
            _ => problems.push(format!("{name} is {:?}, must be {shape:?}", old_spec.shape)),
        }
    }
    for spec in old_specs.iter().filter(|old| specs.iter().all(|spec| spec.name != old.name)) {
        problems.push(format!("{} {:?} is not expected", spec.name, spec.shape));
    }
    if !problems.is_empty() {
        let model = config.name.clone();
        return Err(RecordError::OtherNetwork { path: path.into(), model, problems });
    }
    Ok((Network::from_parameters(config, parameters, device), notes))
}

/// What to say where a classifier stays that knows as many classes by other names.
fn other_names(old: &[String], new: &[String]) -> Option<String> {
    let mut differing = old.iter().zip(new).filter(|(old, new)| old != new);
    let (first, now) = differing.next().filter(|_| old.len() == new.len())?;
    Some(match differing.count() {
        0 => format!("fc: keeps what it knows of `{first}`, for `{now}`"),
        more => {
            format!("fc: keeps what it knows of `{first}` and {more} more, for `{now}` and others")
        }
    })
}
