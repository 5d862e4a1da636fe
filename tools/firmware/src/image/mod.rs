//! What can be known about a program without running it: what in it can panic or allocate, and how deep
//! its stacks get at most.
//!
//! The depth is computed from the machine code: what every function takes from the stack, whom it calls
//! there, and what exceptions add. What is called through a register is any function that code which can
//! be reached holds a pointer to; `rules` has the exceptions. Recursion has no such depth and is an
//! error. Not counted are functions of a boot ROM, faults and panics, of which none comes back.

mod lines;
mod names;
mod program;
mod rules;
mod scan;
mod stack;
mod thumb;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::read::elf::ElfFile32;
use object::{Object, ObjectSymbol};

use crate::board::{Board, Kind, SecondStack};
use crate::error::Error;
use crate::output::grouped;
use lines::Lines;
use program::Program;
pub(crate) use stack::Depth;
use stack::Levels;

/// What is known about a program.
pub(crate) struct Image {
    /// Functions in it that are part of panics.
    pub panics: Vec<String>,
    /// Places from where these are reached, by the crates that they are from.
    pub callers: BTreeMap<String, usize>,
    /// Functions in it that are part of a heap.
    pub heap: Vec<String>,
    /// Its stacks.
    pub stacks: Vec<Stack>,
}

/// A stack.
pub(crate) struct Stack {
    /// Whose it is.
    pub name: &'static str,
    /// Bytes reserved for it.
    pub reserve: u64,
    /// How deep it gets, or why that cannot be known.
    pub depth: Result<Depth, String>,
}

impl Image {
    /// Reads the program of a board.
    pub(crate) fn read(path: &Path, board: &Board) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::file("read", path))?;
        let (second, levels) = match &board.kind {
            Kind::Hardware(hardware) => (hardware.second, hardware.levels),
            Kind::Emulated(_) => (None, &[][..]),
        };
        Self::parse(&bytes, second, levels)
            .map_err(|reason| Error::Elf { path: path.to_owned(), reason })
    }

    fn parse(bytes: &[u8], second: Option<SecondStack>, levels: Levels) -> Result<Self, String> {
        let elf: ElfFile32<'_> = ElfFile32::parse(bytes).map_err(|error| error.to_string())?;
        let program = Program::read(&elf)?;
        let lines = Lines::read(&elf)?;
        let of = |is: fn(&str) -> bool| {
            let functions = program.functions.iter();
            functions.filter(move |function| is(&function.name))
        };
        let mut callers = BTreeMap::new();
        for function in of(names::is_panic) {
            for name in program.callers(function.start, &lines) {
                *callers.entry(name).or_insert(0) += 1;
            }
        }
        let mut stacks = vec![Stack {
            name: "stack",
            reserve: symbol(&elf, "_stack_start")?.saturating_sub(symbol(&elf, "_stack_end")?),
            depth: stack::depth(&program, &lines, None, levels),
        }];
        if let Some(SecondStack { entry, variable }) = second {
            let depth = stack::depth(&program, &lines, Some(entry), levels).map(|mut depth| {
                // Two words lie there before anything runs: what it is to begin with.
                depth.thread += 8;
                depth
            });
            stacks.push(Stack { name: "stack, core 1", reserve: size(&elf, variable)?, depth });
        }
        Ok(Self {
            panics: of(names::is_panic).map(|function| function.name.clone()).collect(),
            callers,
            heap: of(names::is_heap).map(|function| function.name.clone()).collect(),
            stacks,
        })
    }

    /// Where panics come from, in a few words; the crate with most calls first.
    pub(crate) fn sources(&self) -> String {
        let mut callers: Vec<_> = self.callers.iter().collect();
        callers.sort_by_key(|&(name, &count)| (std::cmp::Reverse(count), name));
        let callers: Vec<String> =
            callers.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        callers.join(", ")
    }

    /// Checks what a program must be that is written to a board.
    ///
    /// # Errors
    /// If it has a heap, or a stack may get deeper than what is reserved for it, or nobody knows.
    pub(crate) fn check(&self, board: &'static Board) -> Result<(), Error> {
        let fault = self.fault();
        fault.map_or(Ok(()), |(reason, help)| {
            Err(Error::Image { board: board.name, reason, help: help.to_owned() })
        })
    }

    /// The first thing that a program for a board must not be, and what to do about it.
    pub(crate) fn fault(&self) -> Option<(String, &'static str)> {
        if let Some(function) = self.heap.first() {
            let help =
                "something that is linked in allocates memory: the firmware has none to give";
            return Some((format!("it has a heap: {function}"), help));
        }
        for Stack { name, reserve, depth } in &self.stacks {
            match depth {
                Ok(depth) if depth.bytes() <= *reserve => {}
                Ok(depth) => {
                    let reason = format!(
                        "its {name} may take {} bytes, {} are reserved; the way there is {}",
                        grouped(depth.bytes()),
                        grouped(*reserve),
                        depth.way()
                    );
                    // Of two stacks, the option is the second's.
                    let fixed = self.stacks.len() > 1 && *name == "stack";
                    let help = match fixed {
                        true => "give it more in the build.rs of firmware/boards/pico2",
                        false => "give it more with --stack KB",
                    };
                    return Some((reason, help));
                }
                Err(reason) => {
                    let reason = format!("nobody knows how deep its {name} gets: {reason}");
                    return Some((reason, "tools/firmware/src/image has the rules for calls"));
                }
            }
        }
        None
    }
}

/// The address of a symbol.
fn symbol(elf: &ElfFile32<'_>, name: &str) -> Result<u64, String> {
    let found = elf.symbols().find(|symbol| symbol.name() == Ok(name));
    found.map(|symbol| symbol.address()).ok_or_else(|| format!("no symbol {name}"))
}

/// The length of a variable whose name ends so.
fn size(elf: &ElfFile32<'_>, end: &str) -> Result<u64, String> {
    let is = |name: &str| names::readable(name).ends_with(end);
    let found = elf.symbols().find(|symbol| symbol.name().is_ok_and(is));
    found.map(|symbol| symbol.size()).ok_or_else(|| format!("no variable {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::named;

    #[test]
    fn a_stack_that_is_too_deep_or_unknown_is_a_fault_and_refused() {
        let image = |reserve, depth: Result<Depth, &str>| Image {
            panics: Vec::new(),
            callers: BTreeMap::new(),
            heap: Vec::new(),
            stacks: vec![Stack { name: "stack", reserve, depth: depth.map_err(str::to_owned) }],
        };
        let depth = || Ok(Depth { thread: 1000, exception: 200, path: Vec::new() });
        let board = named("pico2").unwrap();
        assert!(image(1200, depth()).check(board).is_ok());
        let error = image(1199, depth()).check(board).unwrap_err().to_string();
        assert!(error.contains("1,200 bytes, 1,199 are reserved"), "{error}");
        let (reason, _) = image(1200, Err("recursion")).fault().unwrap();
        assert!(reason.contains("recursion"), "{reason}");
    }
}
