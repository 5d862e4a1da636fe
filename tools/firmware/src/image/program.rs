//! A program for a Cortex-M as functions, exceptions and the addresses in its data.

use std::collections::BTreeSet;
use std::ops::Range;

use object::elf::{EF_ARM_ABI_FLOAT_HARD, SHF_EXECINSTR};
use object::read::elf::{ElfFile32, FileHeader as _};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};
use picovit::Model;

use super::lines::Lines;
use super::names::{is_panic, readable};
use super::scan::{Code, Scan, Target, scan};
use crate::aligned::Aligned;

/// A function.
pub(super) struct Function {
    /// Its name, as people write it.
    pub name: String,
    /// Its first address.
    pub start: u32,
    /// The address behind it.
    pub end: u32,
    /// What is known about it.
    pub scan: Scan,
}

/// Data up to where a symbol says that other data begins.
pub(super) struct DataObject {
    /// Its first address.
    start: u32,
    /// Its words, those of models left out.
    words: Vec<u32>,
    /// Bytes to the next.
    length: u32,
}

/// A function whose address something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    /// The function.
    pub function: usize,
    /// Whether it is a method in a table of methods, for values whose type is not known.
    pub method: bool,
}

/// A program.
pub(super) struct Program {
    /// Its functions, in order of their addresses.
    pub functions: Vec<Function>,
    /// The addresses in its table of exceptions, from the first behind the stack pointer on.
    pub vectors: Vec<u32>,
    /// Its data, in order of the addresses.
    pub objects: Vec<DataObject>,
    /// Whether exceptions save the registers of the floating-point unit.
    pub floats: bool,
}

impl Program {
    /// Takes a program apart.
    pub(super) fn read(elf: &ElfFile32<'_>) -> Result<Self, String> {
        let panics = panics(elf);
        let mut functions = Vec::new();
        let mut data: Vec<(u32, &[u8])> = Vec::new();
        let mut vectors = Vec::new();
        for section in elf.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            let name = section.name().unwrap_or_default();
            let allocated = sh_flags & u64::from(object::elf::SHF_ALLOC) != 0;
            if !allocated || section.size() == 0 || name == ".pictures" {
                continue;
            }
            let bytes = section.data().map_err(|error| format!("{name}: {error}"))?;
            let start = section.address() as u32;
            if name == ".vector_table" {
                let words = bytes.as_chunks::<4>().0.iter().skip(1);
                vectors = words.map(|word| u32::from_le_bytes(*word)).collect();
            } else {
                // Functions that run in RAM lie among the variables.
                let places = places(elf, start..start + bytes.len() as u32);
                functions.extend(self::functions(elf, start, bytes, &places, &panics));
                if sh_flags & u64::from(SHF_EXECINSTR) == 0 {
                    data.push((start, bytes));
                }
            }
        }
        if vectors.is_empty() || functions.is_empty() {
            return Err("it has no table of exceptions or no code".to_owned());
        }
        functions.sort_unstable_by_key(|function| function.start);
        let flags = elf.elf_header().e_flags(elf.endian());
        let floats = flags & EF_ARM_ABI_FLOAT_HARD != 0;
        // Linkers leave out the names of data without a public one: it begins where somebody points.
        let numbers = functions.iter().flat_map(|function| function.scan.numbers.iter().copied());
        let stored = data.iter().flat_map(|&(start, bytes)| words(start, bytes));
        let pointed: BTreeSet<u32> = numbers.chain(stored).collect();
        let objects = data.iter().flat_map(|&(start, bytes)| objects(elf, start, bytes, &pointed));
        let mut objects: Vec<DataObject> = objects.collect();
        objects.sort_unstable_by_key(|object| object.start);
        Ok(Self { functions, vectors, objects, floats })
    }

    /// What can be called by somebody who has these numbers: they may be pointers to functions, or to
    /// data that holds such pointers, or pointers to more data. `seen` is the data that has been looked
    /// at.
    pub(super) fn pointers(&self, numbers: &[u32], seen: &mut BTreeSet<usize>) -> Vec<Pointer> {
        let (mut found, mut next) = (Vec::new(), Vec::new());
        for &number in numbers {
            match self.entered_by(number) {
                Some(function) => found.push(Pointer { function, method: false }),
                None => next.push(number),
            }
        }
        while let Some(number) = next.pop() {
            let after = self.objects.partition_point(|object| object.start <= number);
            let Some(index) = after.checked_sub(1) else { continue };
            let object = &self.objects[index];
            if number - object.start >= object.length || !seen.insert(index) {
                continue;
            }
            let methods = self.has_methods(&object.words);
            for &word in &object.words {
                match self.entered_by(word) {
                    Some(function) => found.push(Pointer { function, method: methods }),
                    None => next.push(word),
                }
            }
        }
        found
    }

    /// Whether data is a table of methods: how a value is dropped, its size, its alignment, then methods.
    fn has_methods(&self, words: &[u32]) -> bool {
        let [drop, size, align, method, ..] = *words else { return false };
        (drop == 0 || self.entered_by(drop).is_some())
            && align.is_power_of_two()
            && align <= 64
            && size.is_multiple_of(align)
            && size < 1 << 20
            && self.entered_by(method).is_some()
    }

    /// Who calls the function at an address: the crates that the code is from, one for every call, or
    /// for every way to a call that the compiler made one of several. The core library's own code counts
    /// as that of who uses it, and so does that of `defmt`.
    pub(super) fn callers(&self, start: u32, lines: &Lines) -> Vec<String> {
        let calls = self.functions.iter().flat_map(|function| {
            let calls = function.scan.calls.iter();
            let calls = calls.filter(|call| call.target == Target::Address(start));
            let places = calls.flat_map(|call| origins(function, call.at, &|at| lines.has(at)));
            places.map(move |at| (at, function))
        });
        let outside = |(at, function): (u32, &Function)| {
            let merged = lines.functions(at);
            let names = merged.iter().chain([&function.name]);
            let mut crates = names.map(|name| crate_of(name));
            crates.find(|&name| name != "core" && name != "defmt").map(str::to_owned)
        };
        calls.filter_map(outside).collect()
    }

    /// The function that an address is in.
    pub(super) fn at(&self, address: u32) -> Option<usize> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let index = after.checked_sub(1)?;
        (address < self.functions[index].end).then_some(index)
    }

    /// The function that a pointer calls: bit 0 says Thumb.
    pub(super) fn entered_by(&self, pointer: u32) -> Option<usize> {
        let index = self.at(pointer.checked_sub(1)?)?;
        (pointer & 1 == 1 && self.functions[index].start == pointer - 1).then_some(index)
    }
}

/// Where the flow to an instruction comes from: the instruction itself if it has a line of the source.
/// If not, the compiler made one of several that were equal, and the flow comes from what is before it
/// and from the jumps to it.
fn origins(function: &Function, at: u32, has_line: &impl Fn(u32) -> bool) -> BTreeSet<u32> {
    let (mut found, mut seen, mut next) = (BTreeSet::new(), BTreeSet::new(), vec![at]);
    while let Some(at) = next.pop() {
        if has_line(at) {
            found.insert(at);
        } else if seen.insert(at) {
            let jumps = function.scan.jumps.iter().filter(|&&(_, to)| to == at);
            next.extend(jumps.map(|&(from, _)| from));
            if !function.scan.ends.contains(&at) && at > function.start {
                next.push(at - 2);
            }
        }
    }
    // Where nothing is seen to lead to it, nobody else can be named.
    if found.is_empty() {
        found.insert(at);
    }
    found
}

/// The crate of a function's name; assembly has none.
fn crate_of(name: &str) -> &str {
    let path = name.trim_start_matches(['<', '&', '(', '[']).trim_start_matches("mut ");
    let first = path.split("::").next().unwrap_or(path);
    // Methods of built-in types are the core library's.
    if path.contains("::") && first.chars().all(|c| c.is_alphanumeric() || c == '_') {
        first
    } else {
        "core"
    }
}

/// The data of a section: symbols say where it begins, and `pointed` where there are none.
fn objects(
    elf: &ElfFile32<'_>,
    base: u32,
    bytes: &[u8],
    pointed: &BTreeSet<u32>,
) -> Vec<DataObject> {
    let end = base + bytes.len() as u32;
    let mut symbols: Vec<(u32, u32)> = elf
        .symbols()
        .filter(|symbol| symbol.is_definition() && symbol.kind() != SymbolKind::File)
        .map(|symbol| (symbol.address() as u32, symbol.size() as u32))
        .filter(|(start, _)| (base..end).contains(start))
        .collect();
    symbols.sort_unstable();
    let inside_a_symbol = |address: &&u32| {
        let before = &symbols[..symbols.partition_point(|(start, _)| start <= address)];
        before.iter().any(|(start, size)| **address - start < *size)
    };
    let others = pointed.range(base..end).filter(|address| !inside_a_symbol(address));
    let mut starts: Vec<u32> =
        symbols.iter().map(|&(start, _)| start).chain(others.copied()).chain([base]).collect();
    let ends = symbols.iter().map(|&(start, size)| start + size);
    starts.extend(ends.filter(|ends| (base..end).contains(ends)));
    starts.sort_unstable();
    starts.dedup();
    let nexts = starts.iter().copied().skip(1).chain([end]);
    let object = |(&start, next): (&u32, u32)| {
        let bytes = &bytes[(start - base) as usize..(next - base) as usize];
        let words = words(start, bytes).collect();
        DataObject { start, words, length: next - start }
    };
    starts.iter().zip(nexts).map(object).collect()
}

/// The words of data at an address, those of models left out. Data that is not aligned is no pointers.
fn words(start: u32, bytes: &[u8]) -> impl Iterator<Item = u32> {
    let models = models(bytes);
    let bytes = if start.is_multiple_of(4) { bytes } else { &[] };
    let words = bytes.as_chunks::<4>().0.iter().enumerate();
    let outside =
        move |&(index, _): &(usize, _)| !models.iter().any(|model| model.contains(&(4 * index)));
    words.filter(outside).map(|(_, word)| u32::from_le_bytes(*word))
}

/// Where artifacts lie in memory: their weights are no addresses.
fn models(bytes: &[u8]) -> Vec<Range<usize>> {
    let starts = (0..bytes.len()).step_by(4).filter(|&at| bytes[at..].starts_with(b"PVIT"));
    let model = |at: usize| {
        let length = bytes.get(at + 8..at + 12)?.try_into().map(u32::from_le_bytes).ok()? as usize;
        let copy = Aligned::copy(bytes.get(at..at.checked_add(length)?)?);
        Model::parse(copy.as_ref()).is_ok().then_some(at..at + length)
    };
    starts.filter_map(model).collect()
}

/// The addresses of functions that panic.
fn panics(elf: &ElfFile32<'_>) -> BTreeSet<u32> {
    let functions = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let panics =
        functions.filter(|symbol| symbol.name().is_ok_and(|name| is_panic(&readable(name))));
    panics.map(|symbol| symbol.address() as u32 & !1).collect()
}

/// Where code and data begin, by the symbols that say so.
fn places(elf: &ElfFile32<'_>, section: Range<u32>) -> Vec<(u32, bool)> {
    let place = |name: &str, address: u32| match name.get(..2)? {
        "$t" => Some((address, false)),
        "$d" => Some((address, true)),
        _ => None,
    };
    let mut places: Vec<(u32, bool)> = elf
        .symbols()
        .filter(|symbol| section.contains(&(symbol.address() as u32)))
        .filter_map(|symbol| place(symbol.name().ok()?, symbol.address() as u32))
        .collect();
    places.sort_unstable();
    places
}

/// The functions of a section.
fn functions(
    elf: &ElfFile32<'_>,
    base: u32,
    bytes: &[u8],
    places: &[(u32, bool)],
    panics: &BTreeSet<u32>,
) -> Vec<Function> {
    let end = base + bytes.len() as u32;
    let mut symbols: Vec<(u32, u32, &str)> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| {
            let name = symbol.name().ok().filter(|name| !name.starts_with('$'))?;
            Some((symbol.address() as u32 & !1, symbol.size() as u32, name))
        })
        .filter(|(start, ..)| (base..end).contains(start))
        .collect();
    // Of several names for one place, one with a length.
    symbols.sort_unstable_by_key(|&(start, size, _)| (start, std::cmp::Reverse(size)));
    symbols.dedup_by_key(|&mut (start, ..)| start);
    let is_data = |address: u32| {
        let after = places.partition_point(|&(place, _)| place <= address);
        after.checked_sub(1).is_some_and(|index| places[index].1)
    };
    let nexts = symbols.iter().skip(1).map(|&(start, ..)| start).chain([end]);
    let function = |(&(start, size, name), next): (&(u32, u32, &str), u32)| {
        let stop = if size == 0 { next } else { (start + size).min(next) };
        let bytes = &bytes[(start - base) as usize..(stop - base) as usize];
        let is_end = |target| panics.contains(&target);
        let scan = scan(&Code { start, bytes, is_data: &is_data, is_end: &is_end });
        Function { name: readable(name), start, end: stop, scan }
    };
    symbols.iter().zip(nexts).map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_without_a_line_comes_from_whatever_leads_to_it() {
        // From 20 on, code without lines: 16 falls through to it, 4 jumps to it, and 8 does by way of 30,
        // which has no line either; behind 12, which goes nowhere, nothing leads to 14.
        let scan = Scan {
            jumps: vec![(4, 22), (8, 30), (30, 20), (22, 20)],
            ends: vec![14, 28, 32],
            ..Scan::default()
        };
        let function = Function { name: String::new(), start: 0, end: 40, scan };
        let has_line = |at| at < 18;
        let of = |at| origins(&function, at, &has_line).into_iter().collect::<Vec<_>>();
        assert_eq!(of(24), [4, 8, 16]);
        assert_eq!(of(12), [12]);
        assert_eq!(of(36), [36]);
    }
}
