//! Instructions of an inference on AArch64, for every instruction set that the kernels know there:
//! the engine's benchmark, run by QEMU's emulator of Linux programs. So are, on demand, the engine's
//! tests, most of which are of the kernels.
//!
//! The emulator logs which blocks of instructions it executes, and once what is in each. The
//! difference between two and three inferences is that of one, without the program's start.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use picovit::format::Packing;
use picovit::kernels::Isa;
use serde::Serialize;

use crate::Aarch64Args;
use crate::build;
use crate::error::Error;
use crate::model::Artifact;
use crate::output::{grouped, sheet, spinner};
use crate::paths::{self, shown};
use crate::report::json;
use crate::toolchain::{Choice, Toolchain};

/// The emulator.
const EMULATOR: &str = "qemu-aarch64";

/// What programs are built for.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Functions that are shown.
const FUNCTIONS: usize = 12;

#[derive(Serialize)]
struct Report {
    model: String,
    macs: u64,
    cpu: String,
    instruction_sets: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    instructions: u64,
    per_mac: f64,
    times_fewer: f64,
}

/// Counts and shows.
pub(crate) fn count(args: &Aarch64Args) -> Result<(), Error> {
    let version = Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status();
    version.map_err(|_| Error::NoEmulator { emulator: EMULATOR })?;
    known(&args.cpu)?;
    if args.check {
        check(args)?;
    }
    let artifact = Artifact::find(args.model.as_deref())?;
    let model = artifact.model();
    if model.packing() != Packing::Portable {
        eprintln!(
            "hint: the weights are packed for `{}`: quantize with `--target aarch64`, or `cortex-a53` for \
             processors without dot products",
            model.packing().name()
        );
    }
    let program = build::build_for_host(TARGET, args.toolchain, "--bench", "inference")?;
    let ops = (0..model.op_count()).filter_map(|index| model.op(index).ok());
    let macs = ops.map(|op| op.macs()).sum::<u64>();
    let mut rows: Vec<Row> = Vec::new();
    let mut functions = Vec::new();
    let mut logits = None;
    let sets = [Isa::Portable, Isa::Neon, Isa::NeonDot].into_iter();
    for isa in sets.filter(|isa| args.kernels.iter().any(|name| name == isa.name())) {
        let inferences = |count| run(&program, &artifact.path, isa, &args.cpu, count);
        let Some((two, _)) = inferences(2)? else { continue };
        let Some((three, said)) = inferences(3)? else { continue };
        let reason = || "the instruction sets disagree".to_owned();
        if *logits.get_or_insert_with(|| said.clone()) != said {
            return Err(Error::Log { reason: reason() });
        }
        let instructions = three.total.saturating_sub(two.total);
        let first = rows.first().map_or(instructions, |row| row.instructions);
        rows.push(Row {
            name: isa.name(),
            instructions,
            per_mac: instructions as f64 / macs as f64,
            times_fewer: first as f64 / instructions as f64,
        });
        functions = three.less(&two);
    }
    if rows.is_empty() {
        return Err(Error::Processor {
            cpu: args.cpu.clone(),
            reason: format!("it has none of the kernels {}", args.kernels.join(", ")),
            help:
                "name others with --kernels, or another processor with --cpu: `max` has all of them"
                    .to_owned(),
        });
    }
    let mut table = sheet(["kernels", "instructions", "per MAC", "times fewer"], 1);
    for row in &rows {
        table.add_row([
            row.name.to_owned(),
            grouped(row.instructions),
            format!("{:.3}", row.per_mac),
            format!("{:.2}", row.times_fewer),
        ]);
    }
    println!("{}: {} MACs, -cpu {}", shown(&artifact.path), grouped(macs), args.cpu);
    println!("{table}");
    if args.functions {
        let name = rows.last().map_or("", |row| row.name);
        let mut table = sheet([name, "instructions"], 1);
        for (function, instructions) in functions.into_iter().take(FUNCTIONS) {
            let function = format!("{:#}", rustc_demangle::demangle(&function));
            table.add_row([function, grouped(instructions)]);
        }
        println!("{table}");
    }
    json(
        args.json.as_deref(),
        &Report {
            model: shown(&artifact.path),
            macs,
            cpu: args.cpu.clone(),
            instruction_sets: rows,
        },
    )
}

/// Runs the engine's tests: of the kernels, of artifacts, and those beside the code.
fn check(args: &Aarch64Args) -> Result<(), Error> {
    for program in tests(args.toolchain)? {
        let output = Command::new(EMULATOR)
            .args(["-cpu", &args.cpu])
            .arg(program)
            .output()
            .map_err(|reason| Error::Program { program: EMULATOR.to_owned(), reason })?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let reason = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
            return Err(Error::Log { reason });
        }
        print!("{}", said.trim_start());
    }
    Ok(())
}

/// Builds the engine's tests; where their programs are.
fn tests(choice: Choice) -> Result<Vec<PathBuf>, Error> {
    let spinner = spinner(format!("Building the tests for {TARGET}"));
    let toolchain = Toolchain::find(TARGET, choice, &|step| spinner.set_message(step.to_owned()))?;
    // Linked statically, so that they run whatever C library is installed.
    let mut command = toolchain.cargo_build(&target_dir(), &["crt-static"]);
    command
        .current_dir(paths::root())
        .args(["--package", "picovit", "--tests", "--features", "std,f16"])
        .args(["--release", "--locked", "--message-format=json-render-diagnostics"]);
    let output = command
        .output()
        .map_err(|reason| Error::Program { program: "cargo".to_owned(), reason })?;
    let programs = programs(&String::from_utf8_lossy(&output.stdout));
    if !output.status.success() || programs.is_empty() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Build { output, command: format!("{command:?}") });
    }
    Ok(programs)
}

/// The programs of tests among cargo's messages.
fn programs(messages: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let programs = messages.filter_map(|message: serde_json::Value| {
        let program = message["executable"].as_str().map(PathBuf::from)?;
        message["profile"]["test"].as_bool()?.then_some(program)
    });
    programs.collect()
}

/// Makes sure that the emulator knows a processor before anything slow is done for it.
fn known(cpu: &str) -> Result<(), Error> {
    // It looks at the name before it looks at the program, which is none. `help` is no name, either.
    let output = Command::new(EMULATOR)
        .args(["-cpu", cpu, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .map_err(|reason| Error::Program { program: EMULATOR.to_owned(), reason })?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let unknown = ["CPU model", "roperty"].iter().any(|words| complaint.contains(words));
    if !unknown && output.stdout.is_empty() {
        return Ok(());
    }
    Err(Error::Processor {
        cpu: cpu.to_owned(),
        reason: match unknown {
            true => complaint.trim().to_owned(),
            false => "that is no processor".to_owned(),
        },
        help: format!("--cpu takes the emulator's names: `{EMULATOR} -cpu help` lists them"),
    })
}

/// Executes so many inferences; what it counted and what the program said. None if the processor
/// does not have the instruction set.
fn run(
    program: &Path,
    artifact: &Path,
    isa: Isa,
    cpu: &str,
    inferences: u32,
) -> Result<Option<(Log, String)>, Error> {
    let failed = |reason| Error::Program { program: EMULATOR.to_owned(), reason };
    let mut child = Command::new(EMULATOR)
        .args(["-cpu", cpu, "-d", "in_asm,exec,nochain"])
        .arg(program)
        // As the processor has them; a long environment would move the stack.
        .env_clear()
        .env("PICOVIT_ARTIFACT", artifact)
        .env("PICOVIT_ISA", isa.name())
        .env("PICOVIT_RUNS", (inferences - 1).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().expect("piped");
    let said = thread::spawn(move || {
        let mut said = String::new();
        // What is missing shows in the comparison.
        let _ = stdout.read_to_string(&mut said);
        said
    });
    let log = Log::read(BufReader::new(child.stderr.take().expect("piped")))?;
    let status = child.wait().map_err(failed)?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        if log.rest.contains("is not available here") {
            return Ok(None);
        }
        return Err(Error::Log { reason: log.rest });
    }
    Ok(Some((log, said)))
}

/// What the emulator has logged.
#[derive(Default)]
struct Log {
    /// Instructions.
    total: u64,
    /// The same of each function.
    functions: BTreeMap<String, u64>,
    /// What is not the emulator's.
    rest: String,
}

impl Log {
    /// Counts the instructions of the blocks that are executed.
    fn read(mut stream: impl BufRead) -> Result<Self, Error> {
        let failed = |reason: std::io::Error| Error::Log { reason: reason.to_string() };
        let mut log = Self::default();
        let mut sizes: HashMap<u64, u64> = HashMap::new();
        // The block whose instructions are being listed.
        let mut listed: Option<u64> = None;
        let mut line = Vec::new();
        while {
            line.clear();
            stream.read_until(b'\n', &mut line).map_err(failed)? > 0
        } {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if let Some(rest) = text.strip_prefix("0x") {
                let digits = rest.split(':').next().unwrap_or_default();
                let Ok(address) = u64::from_str_radix(digits, 16) else { continue };
                let start = *listed.get_or_insert(address);
                let size = sizes.entry(start).or_default();
                *size = if start == address { 1 } else { *size + 1 };
            } else if let Some((executed, block)) = block(text) {
                let size = block.and_then(|block| sizes.get(&block)).copied();
                let Some(size) = size else {
                    return Err(Error::Log { reason: format!("a block is unknown: {text}") });
                };
                let name = text.rsplit(']').next().unwrap_or_default().trim();
                let function = log.functions.entry(name.to_owned()).or_default();
                if executed {
                    (log.total, *function) = (log.total + size, *function + size);
                } else {
                    (log.total, *function) = (log.total - size, *function - size);
                }
            } else if text.starts_with("IN:") {
                listed = None;
            } else if !text.is_empty() && !text.starts_with("---") {
                log.rest.push_str(text);
                log.rest.push('\n');
            }
        }
        Ok(log)
    }

    /// Functions by what they took more, most first.
    fn less(&self, other: &Self) -> Vec<(String, u64)> {
        let before = |name: &String| other.functions.get(name).copied().unwrap_or(0);
        let more =
            |(name, &count): (&String, &u64)| (name.clone(), count.saturating_sub(before(name)));
        let mut functions: Vec<_> = self.functions.iter().map(more).collect();
        functions.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        functions
    }
}

/// Whether a line says that a block is executed, or else that a block was not after all; and where
/// the block begins: `Trace 0: 0x7f0000 [base/PC/flags/flags] function`.
fn block(line: &str) -> Option<(bool, Option<u64>)> {
    let executed = line.starts_with("Trace ");
    if !executed && !line.starts_with("Stopped execution") {
        return None;
    }
    let place = line.split('/').nth(1).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    Some((executed, place))
}

/// Builds the camera program; where it is.
pub(crate) fn camera(choice: Choice) -> Result<PathBuf, Error> {
    build::build_camera(TARGET, choice)
}

/// The folder that cargo builds in.
pub(crate) fn target_dir() -> PathBuf {
    paths::root().join("target/hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_those_of_executed_blocks() {
        let log = "----------------\nIN: main\n0x10:  d503201f  nop\n0x14:  d503201f  nop\n\n\
            Trace 0: 0x7f15b4800100 [0000000001009331/0000000000000010/00000001/00000200] main\n\
            IN: f\n0x20:  d503201f  nop\n\n\
            Trace 0: 0x7f15b4800200 [0000000001009331/0000000000000020/00000001/00000200] f\n\
            Trace 0: 0x7f15b4800100 [0000000001009331/0000000000000010/00000001/00000200] main\n\
            panicked\n";
        let log = Log::read(log.as_bytes()).unwrap();
        assert_eq!(log.total, 5);
        assert_eq!(log.less(&Log::default()), [("main".to_owned(), 4), ("f".to_owned(), 1)]);
        assert_eq!(log.rest, "panicked\n");
    }

    #[test]
    fn programs_of_tests_are_found_among_messages() {
        let messages = r#"
            {"executable":"a/picovit-1","profile":{"test":true},"target":{"name":"picovit"}}
            {"executable":null,"profile":{"test":false},"target":{"name":"proptest"}}
            {"executable":"a/inference-2","profile":{"test":false},"target":{"name":"inference"}}
            {"executable":"a/kernels-3","profile":{"test":true},"target":{"name":"kernels"}}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(programs(messages), ["a/picovit-1", "a/kernels-3"].map(PathBuf::from));
    }

    /// Without the emulator there is nothing to ask.
    #[test]
    fn processors_that_the_emulator_does_not_know_are_named() {
        if Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status().is_err() {
            return;
        }
        assert!(known("cortex-a53").is_ok() && known("max").is_ok());
        for name in ["nosuch", "max,nosuch=on", "help"] {
            let error = known(name).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            let help = miette::Diagnostic::help(&error).unwrap().to_string();
            assert!(help.contains("--cpu") && help.contains("-cpu help"), "{help}");
        }
    }
}
