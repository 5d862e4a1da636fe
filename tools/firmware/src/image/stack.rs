//! The deepest stack that a program can have.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::Lines;
use super::names::{is_of, is_panic};
use super::program::{Pointer, Program};
use super::rules::{self, Candidate};
use super::scan::Target;

/// Bytes that an exception puts on the stack, alignment included, without and with the registers of a
/// floating-point unit.
const EXCEPTION: [u32; 2] = [32 + 4, 104 + 4];
/// Places in the table of exceptions that are no interrupts: the reset and the faults. No fault comes
/// back, and what is left of the stack does not matter then.
const FIRST_HANDLER: usize = 10;

/// The deepest stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Bytes without exceptions.
    pub thread: u32,
    /// Bytes that exceptions add: for every level of priority what the processor saves, and the deepest
    /// handler.
    pub exception: u32,
    /// The way to the deepest place: functions with the bytes that they hold when they call the next.
    pub path: Vec<(String, u32)>,
}

impl Depth {
    /// Bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.thread) + u64::from(self.exception)
    }

    /// The way in one line.
    pub(crate) fn way(&self) -> String {
        let steps = self.path.iter().filter(|(_, bytes)| *bytes > 0);
        steps.map(|(name, bytes)| format!("{name} {bytes}")).collect::<Vec<_>>().join(" -> ")
    }
}

/// Names of handlers that others can interrupt, level by level.
pub(super) type Levels = &'static [&'static [&'static str]];

/// Computes it for what begins at a function: the reset vector's, or this one. Exceptions interrupt only
/// those of a lower level; what is in none of `levels` is above all of them.
pub(super) fn depth(
    program: &Program,
    lines: &Lines,
    entry: Option<&str>,
    levels: Levels,
) -> Result<Depth, String> {
    let handlers = handlers(program, levels)?;
    let entry = match entry {
        Some(name) => program.functions.iter().position(|function| is_of(&function.name, name)),
        None => program.vectors.first().and_then(|&vector| program.entered_by(vector)),
    };
    let entry = entry.ok_or("the function that it begins with is not there")?;
    let roots: Vec<usize> = handlers.iter().flatten().copied().chain([entry]).collect();
    let mut walk = Walk::new(program, lines, &roots)?;
    let mut exception = 0;
    for level in handlers {
        let mut deepest = 0;
        for handler in level {
            deepest = deepest.max(walk.worst(handler, &Writers::new())?);
        }
        exception += EXCEPTION[usize::from(program.floats)] + deepest;
    }
    let thread = walk.worst(entry, &Writers::new())?;
    Ok(Depth { thread, exception, path: walk.path(entry) })
}

/// The handlers of all levels; the last is that of the others.
fn handlers(program: &Program, levels: Levels) -> Result<Vec<BTreeSet<usize>>, String> {
    let vectors = program.vectors.iter().skip(FIRST_HANDLER);
    let mut others: BTreeSet<usize> =
        vectors.filter_map(|&vector| program.entered_by(vector)).collect();
    let mut found = Vec::new();
    for level in levels {
        let mut handlers = BTreeSet::new();
        for name in *level {
            let is = |&&handler: &&usize| program.functions[handler].name == *name;
            let handler = others.iter().find(is).copied();
            let handler = handler.ok_or_else(|| format!("there is no handler {name}"))?;
            others.remove(&handler);
            handlers.insert(handler);
        }
        found.push(handlers);
    }
    found.push(others);
    Ok(found)
}

/// A way from one function to another: bytes held by the first, and the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    depth: u32,
    target: usize,
    /// Whether it is a call through a register.
    pointer: bool,
    /// Whether it is a formatter that writes.
    writes: bool,
}

/// Functions that formatters may write with; none if nothing is known.
type Writers = BTreeSet<usize>;

/// The search for the deepest way.
struct Walk<'a> {
    program: &'a Program,
    /// The ways from every function.
    edges: Vec<Vec<Edge>>,
    /// For every function the first of those that it shares a loop with: functions that jump to each
    /// other, holding nothing. That is no recursion.
    first: Vec<usize>,
    /// What the functions write to that hand it to a formatter.
    writers: Vec<Writers>,
    /// First functions, by what formatters write to there, with their depth and the way that leads there.
    known: BTreeMap<(usize, Writers), (u32, Option<Edge>)>,
    /// The first functions on the way here.
    open: Vec<(usize, Writers)>,
}

impl<'a> Walk<'a> {
    /// Finds the ways from these functions on.
    fn new(program: &'a Program, lines: &Lines, roots: &[usize]) -> Result<Self, String> {
        let edges = reach(program, lines, roots)?;
        let reached: Vec<BTreeSet<usize>> =
            (0..edges.len()).map(|index| jumps(&edges, index)).collect();
        let first = |(index, there): (usize, &BTreeSet<usize>)| {
            let back = |&&other: &&usize| reached[other].contains(&index);
            there.iter().find(back).copied().unwrap_or(index).min(index)
        };
        let first = reached.iter().enumerate().map(first).collect();
        let writers = program.functions.iter().map(|function| {
            let held = program.pointers(&function.scan.numbers, &mut BTreeSet::new());
            let name = |pointer: &Pointer| program.functions[pointer.function].name.as_str();
            let writes = held.iter().filter(|held| held.method && rules::writes(name(held)));
            writes.map(|pointer| pointer.function).collect()
        });
        let writers = writers.collect();
        Ok(Self { program, edges, first, writers, known: BTreeMap::new(), open: Vec::new() })
    }

    /// The functions of a loop.
    fn members(&self, first: usize) -> Vec<usize> {
        (first..self.first.len()).filter(|&index| self.first[index] == first).collect()
    }

    /// Bytes that a function and all that it calls hold at most.
    fn worst(&mut self, function: usize, writers: &Writers) -> Result<u32, String> {
        let first = self.first[function];
        let key = (first, writers.clone());
        if let Some(&(depth, _)) = self.known.get(&key) {
            return Ok(depth);
        }
        let program = self.program;
        let name = |index: usize| program.functions[index].name.as_str();
        if let Some(start) = self.open.iter().position(|open| *open == key) {
            let cycle = self.open[start..].iter().chain([&key]).map(|&(index, _)| name(index));
            let cycle = cycle.collect::<Vec<_>>().join(" -> ");
            return Err(format!("recursion, whose depth nobody knows: {cycle}"));
        }
        self.open.push(key.clone());
        let mut deepest = (0, None);
        for member in self.members(first) {
            let scan = &program.functions[member].scan;
            if let Some(at) = scan.lost {
                let name = name(member);
                return Err(format!("the stack pointer cannot be followed in {name} at {at:#x}"));
            }
            if scan.depth > deepest.0 {
                deepest = (scan.depth, None);
            }
            for edge in self.edges[member].clone() {
                let loops = edge.depth == 0 && self.first[edge.target] == first;
                let foreign = edge.writes && !writers.is_empty() && !writers.contains(&edge.target);
                // Where nothing is formatted, there is no formatter to give to such a function.
                let formats = edge.pointer
                    && writers.is_empty()
                    && !rules::is_formatting(name(member))
                    && rules::formats(name(edge.target));
                if loops || foreign || formats {
                    continue;
                }
                let there = self.handed(member, &edge, writers);
                let depth = edge.depth + self.worst(edge.target, &there)?;
                if depth > deepest.0 {
                    deepest = (depth, Some(edge));
                }
            }
        }
        self.open.pop();
        self.known.insert(key, deepest);
        Ok(deepest.0)
    }

    /// What formatters write to behind an edge. Whoever makes a formatter holds the methods of what it
    /// writes to, or was given it; what writes has nothing to do with the formatter any more.
    fn handed(&self, function: usize, edge: &Edge, writers: &Writers) -> Writers {
        if edge.writes {
            return Writers::new();
        }
        let mut there = writers.clone();
        if rules::is_formatting(&self.program.functions[edge.target].name) {
            there.extend(&self.writers[function]);
        }
        there
    }

    /// The deepest way from a function whose depth is known.
    fn path(&self, function: usize) -> Vec<(String, u32)> {
        let mut path = Vec::new();
        let mut next = Some((function, Writers::new()));
        while let Some((index, writers)) = next {
            let known = self.known.get(&(self.first[index], writers.clone()));
            let (depth, edge) = known.copied().unwrap_or_default();
            let held = edge.map_or(depth, |edge| edge.depth);
            path.push((self.program.functions[index].name.clone(), held));
            next = edge.map(|edge| (edge.target, self.handed(index, &edge, &writers)));
        }
        path
    }
}

/// The ways from every function that can be reached. Only what these functions hold pointers to is
/// called through registers: it is looked for until nothing new is found.
fn reach(program: &Program, lines: &Lines, roots: &[usize]) -> Result<Vec<Vec<Edge>>, String> {
    let name = |index: usize| program.functions[index].name.as_str();
    let mut edges = vec![Vec::new(); program.functions.len()];
    let (mut reached, mut next) = (BTreeSet::new(), roots.to_vec());
    let (mut pointers, mut seen) = (BTreeSet::new(), BTreeSet::new());
    // Calls of what nobody knows, with the functions that were merged there.
    let mut open: Vec<(usize, u32, Vec<String>)> = Vec::new();
    loop {
        while let Some(index) = next.pop() {
            // A panic is the end.
            if is_panic(name(index)) || !reached.insert(index) {
                continue;
            }
            let scan = &program.functions[index].scan;
            pointers.extend(program.pointers(&scan.numbers, &mut seen));
            for call in &scan.calls {
                match call.target {
                    Target::Unknown => open.push((index, call.depth, lines.functions(call.at))),
                    Target::Address(address) => {
                        let target = program.at(address);
                        if target.is_none() {
                            let name = name(index);
                            return Err(format!("{name} calls {address:#x}, where no function is"));
                        }
                        let target = target.filter(|&target| target != index);
                        let target = target.filter(|&target| !is_panic(name(target)));
                        // A jump into a kernel: the frame is the one that is there already.
                        let within = |target: usize| program.functions[target].start != address;
                        let target = target.filter(|&target| {
                            !(within(target)
                                && rules::is_assembly(name(target))
                                && rules::is_assembly(name(index)))
                        });
                        edges[index].extend(target.map(|target| Edge {
                            depth: call.depth,
                            target,
                            pointer: false,
                            writes: false,
                        }));
                        next.extend(target);
                    }
                }
            }
        }
        for (index, depth, callers) in &open {
            let allowed = pointers.iter().filter(|pointer| {
                let target = &program.functions[pointer.function];
                let candidate = Candidate {
                    name: &target.name,
                    method: pointer.method,
                    frame: target.scan.depth > 0,
                };
                rules::may_call(name(*index), callers, &candidate)
            });
            for target in allowed.map(|pointer| pointer.function) {
                let writes = rules::write(name(*index), callers);
                let edge = Edge { depth: *depth, target, pointer: true, writes };
                if !edges[*index].contains(&edge) {
                    edges[*index].push(edge);
                    next.push(target);
                }
            }
        }
        if next.is_empty() {
            return Ok(edges);
        }
    }
}

/// The functions that can be reached from one by jumps that hold nothing.
fn jumps(edges: &[Vec<Edge>], from: usize) -> BTreeSet<usize> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(index) = next.pop() {
        for edge in edges[index].iter().filter(|edge| edge.depth == 0) {
            if reached.insert(edge.target) {
                next.push(edge.target);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::program::Function;
    use crate::image::scan::{Call, Scan};

    /// A function of 16 bytes with a frame, which calls others while it holds it.
    fn function(name: &str, number: u32, frame: u32, calls: &[u32]) -> Function {
        let start = 16 * number;
        let target = |&callee: &u32| Target::Address(16 * callee);
        let calls =
            calls.iter().map(|callee| Call { at: start, depth: frame, target: target(callee) });
        let scan = Scan { depth: frame, calls: calls.collect(), ..Scan::default() };
        Function { name: name.to_owned(), start, end: start + 16, scan }
    }

    /// A program with a task in an interrupt, which a timer interrupts.
    fn program() -> Program {
        let functions = vec![
            function("Reset", 0, 1000, &[]),
            function("DefaultHandler", 1, 0, &[]),
            function("UART4", 2, 100, &[4]),
            function("TIM5", 3, 30, &[]),
            function("task", 4, 200, &[]),
        ];
        let handlers = [1, 1, 2, 3].map(|number| 16 * number + 1);
        let vectors = [1].into_iter().chain([17; FIRST_HANDLER - 1]).chain(handlers).collect();
        Program { functions, vectors, objects: Vec::new(), floats: true }
    }

    fn exception(levels: Levels) -> Result<u32, String> {
        let depth = depth(&program(), &Lines::none(), None, levels)?;
        assert_eq!(depth.thread, 1000);
        Ok(depth.exception)
    }

    #[test]
    fn every_level_of_priority_adds_its_deepest_handler() {
        // Without nesting the deeper of the two, with it both.
        assert_eq!(exception(&[]), Ok(108 + 300));
        assert_eq!(exception(&[&["UART4"]]), Ok(108 + 300 + 108 + 30));
        assert_eq!(exception(&[&["TIM5"]]), Ok(108 + 30 + 108 + 300));
        assert_eq!(exception(&[&["TIM5", "UART4"]]), Ok(108 + 300 + 108));
        assert_eq!(exception(&[&["TIM5"], &["UART4"]]), Ok(108 + 30 + 108 + 300 + 108));
    }

    #[test]
    fn a_handler_that_is_not_there_is_an_error() {
        let error = exception(&[&["UART5"]]).unwrap_err();
        assert!(error.contains("UART5"), "{error}");
    }
}
