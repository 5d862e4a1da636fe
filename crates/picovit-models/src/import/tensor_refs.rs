//! Tensors as a PyTorch pickle describes them.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::DType;

use super::pickle::{Id, Node, Pickle};
use super::strided::Strided;

/// Dictionaries within each other; far more than a checkpoint has.
const MAX_DEPTH: usize = 32;

/// Values that are looked at; dictionaries that share others could name any number.
const MAX_VALUES: usize = 1 << 22;

/// One tensor.
#[derive(Debug, PartialEq)]
pub(super) struct TensorRef<'a> {
    /// Key of its storage.
    pub(super) storage: &'a str,
    /// Type of the storage, as `FloatStorage`.
    kind: &'a str,
    pub(super) view: Strided,
}

impl<'a> TensorRef<'a> {
    #[cfg(test)]
    pub(super) fn floats(storage: &'a str, view: Strided) -> Self {
        Self { storage, kind: "FloatStorage", view }
    }

    /// # Errors
    /// If it holds no floats.
    pub(super) fn dtype(&self) -> Result<DType, String> {
        match self.kind {
            "DoubleStorage" => Ok(DType::F64),
            "FloatStorage" => Ok(DType::F32),
            "HalfStorage" => Ok(DType::F16),
            "BFloat16Storage" => Ok(DType::BF16),
            other => {
                let other = other.trim_end_matches("Storage");
                Err(format!("holds values of type {other}, must hold floats"))
            }
        }
    }
}

/// Every tensor of a pickle by its keys, joined by dots, or why it cannot be read.
///
/// # Errors
/// If there is none, naming what is there.
pub(super) fn tensor_refs<'a>(
    pickle: &Pickle<'a>,
) -> Result<BTreeMap<String, Result<TensorRef<'a>, String>>, String> {
    let mut walk = Walk { pickle, path: vec![], found: BTreeMap::new(), objects: vec![], seen: 0 };
    walk.visit(pickle.root)?;
    if !walk.found.is_empty() {
        return Ok(walk.found);
    }
    let mut what = walk.objects;
    what.truncate(3);
    match what.is_empty() {
        true => Err(format!("it holds a {} without tensors", pickle.class(pickle.root))),
        false => Err(format!("it holds no tensors by name, but {}", what.join(", "))),
    }
}

/// Bytes of an element of every storage that a pickle names.
pub(super) fn element_sizes<'a>(pickle: &Pickle<'a>) -> HashMap<&'a str, usize> {
    let storages = (0..pickle.nodes.len()).filter_map(|id| storage(pickle, id));
    storages.filter_map(|(key, kind)| Some((key, element_size(kind)?))).collect()
}

fn element_size(kind: &str) -> Option<usize> {
    match kind.strip_suffix("Storage")? {
        "ComplexDouble" => Some(16),
        "Double" | "Long" | "ComplexFloat" => Some(8),
        "Float" | "Int" | "QInt32" | "ComplexHalf" => Some(4),
        "Half" | "BFloat16" | "Short" => Some(2),
        "Byte" | "Char" | "Bool" | "Untyped" | "QInt8" | "QUInt8" => Some(1),
        _ => None,
    }
}

/// Key and type of a storage.
fn storage<'a>(pickle: &Pickle<'a>, id: Id) -> Option<(&'a str, &'a str)> {
    let Node::Persistent(named) = pickle.nodes[id] else { return None };
    let [tag, kind, key, ref rest @ ..] = *pickle.items(named) else { return None };
    // The oldest files have storages that are parts of others.
    if rest.get(2).is_some_and(|&part| !pickle.items(part).is_empty()) {
        return None;
    }
    let Node::Global(_, kind) = pickle.nodes[kind] else { return None };
    (pickle.text(tag) == Some("storage")).then_some((pickle.text(key)?, kind))
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    path: Vec<String>,
    found: BTreeMap<String, Result<TensorRef<'a>, String>>,
    /// Objects that are not looked into.
    objects: Vec<String>,
    seen: usize,
}

impl Walk<'_, '_> {
    fn visit(&mut self, id: Id) -> Result<(), String> {
        self.seen += 1;
        if self.path.len() > MAX_DEPTH || self.seen > MAX_VALUES {
            return Err(format!("`{}` is nested too deeply", self.path.join(".")));
        }
        if let Some(tensor) = tensor(self.pickle, id) {
            if self.path.is_empty() {
                return Err("it holds one tensor without a name".into());
            }
            self.found.insert(self.path.join("."), tensor);
            return Ok(());
        }
        let items = match &self.pickle.nodes[id] {
            Node::Dict(items) => items.clone(),
            // Dictionaries of other classes; Python 2 gives an OrderedDict's items as a list.
            Node::Call { args, items, .. } => {
                let list = self.pickle.items(*args).first();
                let list = list.map_or(&[][..], |&list| self.pickle.items(list)).iter();
                let pairs = list.filter_map(|&pair| match *self.pickle.items(pair) {
                    [key, value] => Some((key, value)),
                    _ => None,
                });
                pairs.chain(items.iter().copied()).collect()
            }
            _ => return Ok(()),
        };
        if items.is_empty() && matches!(self.pickle.nodes[id], Node::Call { .. }) {
            let class = self.pickle.class(id);
            self.objects.push(match self.path.is_empty() {
                true => format!("an object of class {class}"),
                false => format!("`{}` of class {class}", self.path.join(".")),
            });
        }
        self.seen += items.len();
        for (key, value) in items {
            let key = match self.pickle.nodes[key] {
                Node::Text(text) => text.to_owned(),
                Node::Int(number) => number.to_string(),
                _ => continue,
            };
            self.path.push(key);
            self.visit(value)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// The tensor that an object is, or why it cannot be read; nothing if it is none.
fn tensor<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Result<TensorRef<'a>, String>> {
    let Node::Call { mut callable, mut args, .. } = pickle.nodes[id] else { return None };
    // A parameter of a class of its own around a tensor, at most.
    for _ in 0..4 {
        let Node::Global(module, name) = pickle.nodes[callable] else { return None };
        match (module, name, pickle.items(args)) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", args) => {
                return Some(strided(pickle, args));
            }
            (
                "torch._utils",
                "_rebuild_parameter" | "_rebuild_parameter_with_state",
                [data, ..],
            ) => {
                let Node::Call { callable: inner, args: data, .. } = pickle.nodes[*data] else {
                    return None;
                };
                (callable, args) = (inner, data);
            }
            (
                "torch._tensor",
                "_rebuild_from_type" | "_rebuild_from_type_v2",
                [inner, _, data, ..],
            ) => {
                (callable, args) = (*inner, *data);
            }
            ("torch._utils", name, _) if name.starts_with("_rebuild") => {
                return Some(Err(format!("is no dense tensor of floats ({name})")));
            }
            _ => return None,
        }
    }
    None
}

/// A tensor by its storage, offset, extents and strides; what may follow, whether it wants
/// gradients and its hooks, is no matter.
fn strided<'a>(pickle: &Pickle<'a>, args: &[Id]) -> Result<TensorRef<'a>, String> {
    let described = described(pickle, args).ok_or("is not described as tensors are")?;
    // Views that are conjugated or negated.
    if args.get(6).is_some_and(|&id| matches!(&pickle.nodes[id], Node::Dict(d) if !d.is_empty())) {
        return Err("is a view that changes its values; save it with .clone()".into());
    }
    Ok(described)
}

fn described<'a>(pickle: &Pickle<'a>, args: &[Id]) -> Option<TensorRef<'a>> {
    let &[stored, offset, shape, strides, ..] = args else { return None };
    let (storage, kind) = storage(pickle, stored)?;
    let counts = |id| pickle.items(id).iter().map(|&item| pickle.count(item)).collect();
    let (shape, strides): (Option<Vec<_>>, Option<Vec<_>>) = (counts(shape), counts(strides));
    let view = Strided { shape: shape?, strides: strides?, offset: pickle.count(offset)? };
    (view.shape.len() == view.strides.len()).then_some(TensorRef { storage, kind, view })
}
