//! What a `.mpk` record holds, read without trusting it.
//!
//! Burn panics on some records that do not fit the module they are loaded into. This reader
//! compares every tensor of a record with the configuration first.

use std::collections::{BTreeMap, HashSet};

use burn::tensor::{DType, TensorData};
use rmpv::Value;

use crate::config::ModelConfig;
use crate::import::floats;
use crate::weights::{ParameterKind, Parameters, transpose};

/// A tensor of a record.
struct Found<'a> {
    id: &'a str,
    shape: Vec<usize>,
    dtype: &'a str,
    bytes: &'a [u8],
}

/// Checks that a record holds exactly the tensors of a configuration. The error says that it is
/// no record, or lists what does not fit.
pub(crate) fn check(content: &[u8], config: &ModelConfig) -> Result<Vec<String>, String> {
    let mut rest = content;
    let root = rmpv::decode::read_value_with_max_depth(&mut rest, 64)
        .map_err(|error| format!("no MessagePack ({error})"))?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the record", rest.len()));
    }
    let item = field(&root, "item").ok_or("it has no `item`")?;
    let mut found = BTreeMap::new();
    collect(item, String::new(), &mut found)?;

    let mut problems = vec![];
    for (name, shape) in expected(config) {
        match found.remove(&name) {
            None => problems.push(format!("{name} {shape:?} is missing")),
            Some(tensor) => problems.extend(tensor.problem(&name, &shape)),
        }
    }
    let unknown = found.iter().map(|(name, t)| format!("{name} {:?} is not expected", t.shape));
    problems.extend(unknown);
    Ok(problems)
}

/// The parameters of a record that [`check`] accepts and whose tensors are f32, in PyTorch's layout.
pub(crate) fn parameters(content: &[u8], config: &ModelConfig) -> Result<Parameters, String> {
    let root = rmpv::decode::read_value_with_max_depth(&mut &*content, 64)
        .map_err(|error| error.to_string())?;
    let item = field(&root, "item").ok_or("it has no `item`")?;
    let mut found = BTreeMap::new();
    collect(item, String::new(), &mut found)?;
    let mut parameters = Parameters::default();
    for (spec, (name, shape)) in config.parameters().iter().zip(expected(config)) {
        let tensor = found.get(&name).ok_or_else(|| format!("{name} is missing"))?;
        let bytes = tensor.bytes.chunks_exact(4);
        let values: Vec<f32> =
            bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let values = match spec.kind.is_linear() {
            true => transpose(&values, shape[0], shape[1]),
            false => values,
        };
        parameters.insert(spec, values);
    }
    Ok(parameters)
}

/// Names and shapes as Burn's modules have them.
fn expected(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let specs = config.parameters();
    // Normalisations are the modules whose weight starts at one.
    let factors = specs.iter().filter(|spec| spec.kind == ParameterKind::One);
    let norms: HashSet<String> =
        factors.filter_map(|spec| Some(spec.name.strip_suffix(".weight")?.to_owned())).collect();
    let named = specs.into_iter().map(|spec| {
        let mut shape = spec.shape;
        if spec.kind.is_linear() {
            shape.reverse();
        }
        let name = match spec.name.rsplit_once('.') {
            Some((module, "weight")) if norms.contains(module) => format!("{module}.gamma"),
            Some((module, "bias")) if norms.contains(module) => format!("{module}.beta"),
            _ => spec.name,
        };
        (name, shape)
    });
    named.collect()
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// Collects the tensors below a value by their dotted names.
fn collect<'a>(
    value: &'a Value,
    name: String,
    found: &mut BTreeMap<String, Found<'a>>,
) -> Result<(), String> {
    let join = |part: &str| if name.is_empty() { part.into() } else { format!("{name}.{part}") };
    if let Some(param) = field(value, "param") {
        let tensor = tensor(value, param).ok_or_else(|| format!("{name} is no tensor"))?;
        found.insert(name, tensor);
        return Ok(());
    }
    match value {
        Value::Map(fields) => {
            for (key, value) in fields {
                collect(value, join(key.as_str().ok_or("a field has no name")?), found)?;
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, join(&index.to_string()), found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn tensor<'a>(value: &'a Value, param: &'a Value) -> Option<Found<'a>> {
    let shape = field(param, "shape")?.as_array()?.iter();
    Some(Found {
        id: field(value, "id")?.as_str()?,
        shape: shape.map(|n| n.as_u64().map(|n| n as usize)).collect::<Option<_>>()?,
        dtype: field(param, "dtype")?.as_str()?,
        bytes: field(param, "bytes")?.as_slice()?,
    })
}

impl Found<'_> {
    fn problem(&self, name: &str, shape: &[usize]) -> Option<String> {
        if self.shape != shape {
            return Some(format!("{name} is {:?}, must be {shape:?}", self.shape));
        }
        let dtype = match self.dtype {
            "F64" => DType::F64,
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            other => return Some(format!("{name} holds {other}, must hold floats")),
        };
        let expected = dtype.size() * shape.iter().product::<usize>();
        if self.bytes.len() != expected {
            let found = self.bytes.len();
            return Some(format!("{name} has {found} bytes, must have {expected}"));
        }
        // Identifiers are eight bytes in base 32.
        if self.id.len() != 13 || !self.id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'v')) {
            return Some(format!("{name} has the identifier `{}`, which is none", self.id));
        }
        let data = TensorData::from_bytes_vec(self.bytes.to_vec(), shape.to_vec(), dtype);
        floats(data).err().map(|problem| format!("{name} {problem}"))
    }
}
