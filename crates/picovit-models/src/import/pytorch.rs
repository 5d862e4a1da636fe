//! Files of `torch.save`: a ZIP archive, or the sequence of pickles of PyTorch before 1.6.
//!
//! burn-store reads such files, too, but takes every tensor for a contiguous one and refuses those
//! that hold anything besides tensors and plain values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

use burn::tensor::TensorData;
use zip::ZipArchive;

use super::pickle::{Node, Pickle};
use super::state_dict::{Entry, floats};
use super::tensor_refs::{TensorRef, element_sizes, tensor_refs};

/// How a file of the older format begins: a pickle of PyTorch's number.
const MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

const BIG_ENDIAN: &str = "it was written by a big-endian machine";

/// Bytes of storages by key, or why there are none.
type Storages<'a> = HashMap<&'a str, Result<Cow<'a, [u8]>, String>>;

/// Every tensor of a file by its keys, joined by dots.
///
/// # Errors
/// If the file is damaged or holds no dictionary with tensors.
pub(super) fn read(content: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    if is_archive(content) {
        read_archive(content)
    } else if content.starts_with(&MAGIC) {
        read_legacy(content)
    } else {
        Err(what_it_is(content).into())
    }
}

/// How a ZIP archive begins. The length in front of a safetensors header may begin with its letters.
pub(super) fn is_archive(content: &[u8]) -> bool {
    content.starts_with(b"PK\x03\x04")
}

/// What a file is that somebody took for a checkpoint.
fn what_it_is(content: &[u8]) -> &'static str {
    let text = content.trim_ascii_start();
    let begins =
        |start: &[u8]| text.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start));
    if begins(b"version https://git-lfs") {
        "it is what Git LFS keeps in its place; fetch it with `git lfs pull`"
    } else if begins(b"<!doctype") || begins(b"<html") {
        "it is a web page; download the file itself"
    } else if begins(b"{") {
        "it is JSON; name the file with the weights"
    } else {
        "it begins as neither does"
    }
}

fn read_archive(content: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let mut archive = ZipArchive::new(Cursor::new(content)).map_err(|error| error.to_string())?;
    let name = archive.file_names().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let name = name.ok_or("it is a ZIP archive without data.pkl")?.to_owned();
    let folder = &name[..name.len() - "data.pkl".len()];
    let mut budget = Budget::of(content.len());
    // Reading to the end checks the file's sum.
    let mut file = |name: &str| {
        let mut bytes = vec![];
        let file = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
        // What the archive says of a size need not be true.
        let mut file = file.take(budget.0 as u64 + 1);
        file.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        let fits = budget.spend(bytes.len());
        fits.map_err(|_| format!("{name} is far larger than the file says it can be"))?;
        Ok::<_, String>(bytes)
    };
    // PyTorch before 2.1 does not tell.
    if file(&format!("{folder}byteorder")).is_ok_and(|order| order.starts_with(b"big")) {
        return Err(BIG_ENDIAN.into());
    }
    let bytes = file(&name)?;
    let pickle = Pickle::read(&bytes)?;
    let refs = tensor_refs(&pickle)?;
    let mut storages = Storages::new();
    for tensor in refs.values().flatten() {
        let read = || file(&format!("{folder}data/{}", tensor.storage)).map(Cow::Owned);
        storages.entry(tensor.storage).or_insert_with(read);
    }
    Ok(entries(refs, &storages, content.len()))
}

/// Five pickles (the magic number, the version, the machine, the content and the storages' keys),
/// then the storages in the order of their keys: a length in elements, and the elements.
fn read_legacy(content: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let mut rest = content;
    let mut next = || {
        let pickle = Pickle::read(rest)?;
        rest = &rest[pickle.len..];
        Ok::<_, String>(pickle)
    };
    let (_magic, _version, machine, pickle, keys) = (next()?, next()?, next()?, next()?, next()?);
    if let Node::Dict(items) = &machine.nodes[machine.root] {
        let little = items.iter().find(|(key, _)| machine.text(*key) == Some("little_endian"));
        if little.is_some_and(|(_, value)| matches!(machine.nodes[*value], Node::Bool(false))) {
            return Err(BIG_ENDIAN.into());
        }
    }
    let sizes = element_sizes(&pickle);
    let mut storages = Storages::new();
    for &key in keys.items(keys.root) {
        let key = keys.text(key).ok_or("a storage has no key")?;
        let size =
            *sizes.get(key).ok_or_else(|| format!("nothing tells the type of storage {key}"))?;
        let ends_early = || format!("storage {key} ends early; is the file complete?");
        let (len, tail) = rest.split_first_chunk::<8>().ok_or_else(ends_early)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok();
        let bytes = len.and_then(|len| len.checked_mul(size)).ok_or_else(ends_early)?;
        let (storage, tail) = tail.split_at_checked(bytes).ok_or_else(ends_early)?;
        storages.insert(key, Ok(storage.into()));
        rest = tail;
    }
    Ok(entries(tensor_refs(&pickle)?, &storages, content.len()))
}

fn entries(
    refs: BTreeMap<String, Result<TensorRef<'_>, String>>,
    storages: &Storages<'_>,
    file: usize,
) -> BTreeMap<String, Entry> {
    let mut budget = Budget::of(file);
    let mut entry = |tensor: Result<TensorRef<'_>, String>| match tensor {
        Ok(tensor) => {
            Entry { values: values(&tensor, storages, &mut budget), shape: tensor.view.shape }
        }
        Err(problem) => Entry { shape: vec![], values: Err(problem) },
    };
    refs.into_iter().map(|(name, tensor)| (name, entry(tensor))).collect()
}

/// Bytes that a file may still become: tensors share storages, and archives pack them.
struct Budget(usize);

impl Budget {
    fn of(file: usize) -> Self {
        Self(file.saturating_mul(8).max(1 << 26))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or("is one of so many that share their values; save the weights alone")?;
        Ok(())
    }
}

fn values(
    tensor: &TensorRef<'_>,
    storages: &Storages<'_>,
    budget: &mut Budget,
) -> Result<Vec<f32>, String> {
    let dtype = tensor.dtype()?;
    let storage = storages.get(tensor.storage).ok_or("has no storage")?;
    let storage = storage.as_ref().map_err(|problem| format!("cannot be read: {problem}"))?;
    budget.spend(tensor.view.count().saturating_mul(size_of::<f32>()))?;
    let bytes = tensor.view.gather(storage, dtype.size())?;
    floats(TensorData::from_bytes_vec(bytes, tensor.view.shape.clone(), dtype))
}

#[cfg(test)]
mod tests {
    use super::super::strided::Strided;
    use super::*;

    // What PyTorch wrote, see `make.py` beside them.
    const STRIDED: [&[u8]; 2] = [
        include_bytes!("../../tests/pytorch/strided.pth"),
        include_bytes!("../../tests/pytorch/strided_legacy.pth"),
    ];
    const CHECKPOINTS: [&[u8]; 2] = [
        include_bytes!("../../tests/pytorch/checkpoint.pth"),
        include_bytes!("../../tests/pytorch/checkpoint_protocol4.pth"),
    ];
    const WHOLE: &[u8] = include_bytes!("../../tests/pytorch/whole.pth");

    fn transposed(rows: u8, columns: u8) -> Vec<f32> {
        let row = |row| (0..columns).map(move |column| f32::from(column * rows + row));
        (0..rows).flat_map(row).collect()
    }

    #[test]
    fn tensors_are_read_in_the_order_of_their_axes() {
        let numbers: Vec<f32> = (0..24u8).map(f32::from).collect();
        for content in STRIDED {
            let tensors = read(content).unwrap();
            let check = |name: &str, shape: &[usize], values: &[f32]| {
                assert_eq!(tensors[name].shape, shape, "{name}");
                assert_eq!(tensors[name].values.as_deref(), Ok(values), "{name}");
            };
            check("plain", &[2, 3, 4], &numbers);
            check("channels_last", &[2, 3, 2, 2], &numbers);
            check("transposed", &[6, 4], &transposed(6, 4));
            check("columns", &[4, 2], &[1.0, 2.0, 7.0, 8.0, 13.0, 14.0, 19.0, 20.0]);
            check("one_by_one", &[24, 1, 1, 1], &numbers);
            check("scalar", &[], &[5.0]);
            check("parameter", &[4, 6], &transposed(4, 6));
            check("half", &[2, 2], &[0.0, 2.0, 1.0, 3.0]);
            check("bfloat", &[4], &numbers[..4]);
            check("double", &[4], &numbers[..4]);
            let problem = |name: &str| tensors[name].values.as_ref().unwrap_err().as_str();
            assert!(problem("expanded").contains("save it with .contiguous()"));
            assert!(problem("integers").contains("type Long, must hold floats"));
            assert_eq!(tensors.len(), 12);
        }
    }

    #[test]
    fn weights_are_found_among_anything_else() {
        for content in CHECKPOINTS {
            let tensors = read(content).unwrap();
            let keys: Vec<_> = tensors.keys().map(String::as_str).collect();
            let momentum =
                ["optimizer.state.0.momentum_buffer", "optimizer.state.1.momentum_buffer"];
            let weights = ["ema", "model", "state_dict"]
                .map(|d| [format!("{d}.bias"), format!("{d}.weight")]);
            let [ema, model, state_dict] = &weights;
            assert_eq!(
                keys,
                [
                    &ema[0],
                    &ema[1],
                    &model[0],
                    &model[1],
                    momentum[0],
                    momentum[1],
                    &state_dict[0],
                    &state_dict[1]
                ]
            );
            for [bias, weight] in &weights {
                assert_eq!(tensors[weight].shape, [1, 2]);
                assert_eq!(tensors[weight].values.as_deref(), Ok(&[0.0, 1.0][..]));
                assert_eq!(tensors[bias].values.as_deref(), Ok(&[2.0][..]));
            }
        }
    }

    #[test]
    fn files_that_only_take_its_place_are_named() {
        let problem = |content: &[u8]| read(content).unwrap_err();
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert!(problem(pointer).contains("git lfs pull"));
        assert!(problem(b"\n<!DOCTYPE html><html>").contains("web page"));
        assert!(problem(b"{\"weight_map\": {}}").contains("it is JSON"));
        // A header of safetensors that is 19,280 bytes long.
        assert!(!is_archive(b"PK\0\0\0\0\0\0{"));
    }

    #[test]
    fn many_names_of_one_storage_do_not_fill_the_memory() {
        let view = || Strided { shape: vec![1 << 20], strides: vec![1], offset: 0 };
        let zeros = vec![0; 4 << 20];
        let storages = Storages::from([("0", Ok(Cow::from(&zeros)))]);
        let refs = |count: usize| {
            let tensor = |i: usize| (format!("{i:02}"), Ok(TensorRef::floats("0", view())));
            (0..count).map(tensor).collect()
        };
        let read = |count| entries(refs(count), &storages, zeros.len());
        assert!(read(16).values().all(|entry| entry.values.is_ok()));
        let many = read(32);
        let mut refused = many.values().filter_map(|entry| entry.values.as_ref().err());
        assert!(refused.clone().count() == 16, "{:?}", refused.count());
        assert!(refused.next_back().unwrap().contains("share their values"));
    }

    #[test]
    fn objects_with_code_are_named() {
        let problem = read(WHOLE).unwrap_err();
        assert!(problem.contains("`model` of class torch.nn.modules.linear.Linear"), "{problem}");
        // Older files name the class with its source.
        let old = Pickle::read(b"(U\x06modulecnet\nCct\nNNtQ)R.").unwrap();
        let problem = tensor_refs(&old).unwrap_err();
        assert!(problem.contains("an object of class net.Cct"), "{problem}");
    }

    #[test]
    fn damaged_files_are_refused_or_read() {
        for content in STRIDED.iter().chain(&CHECKPOINTS).chain(&[WHOLE]) {
            for len in 0..content.len() {
                assert!(read(&content[..len]).is_err() || len > content.len() - 10, "{len}");
            }
            for at in 0..content.len() {
                for byte in [0, b'.', b'(', b'0', b'R', content[at] ^ 1, 0xff] {
                    let mut damaged = content.to_vec();
                    damaged[at] = byte;
                    let _ = read(&damaged);
                }
            }
        }
    }

    #[test]
    fn pickles_without_end_are_refused() {
        // Calls of calls.
        let calls = [&b"ca\nb\n"[..], &b")R".repeat(1 << 20), b"."].concat();
        assert!(tensor_refs(&Pickle::read(&calls).unwrap()).is_err());
        // A dictionary that holds itself; dictionaries that hold the one before twice.
        let circle = tensor_refs(&Pickle::read(b"}q\0U\x01ah\0s.").unwrap()).unwrap_err();
        assert!(circle.contains("too deeply"), "{circle}");
        let mut doubled = b"}q\0".to_vec();
        for place in 1..31 {
            doubled.extend([b'}', b'q', place]);
            for key in [b'a', b'b'] {
                doubled.extend([b'U', 1, key, b'h', place - 1, b's']);
            }
        }
        doubled.push(b'.');
        let doubled = tensor_refs(&Pickle::read(&doubled).unwrap()).unwrap_err();
        assert!(doubled.contains("too deeply"), "{doubled}");
    }
}
