//! Whether the kernels of a board give what the portable ones give on the host.

use std::time::Duration;

use console::style;
use picovit::kernels::Isa;
use picovit_kernel_check::{CASES, GROUPS, Memory, ON_BOARDS, run};

use crate::KernelsArgs;
use crate::board::{self, Board};
use crate::build;
use crate::commands::{Work, folder};
use crate::emulator::{self, Emulator, Event, Overlays};
use crate::error::Error;

/// Seconds that the emulator may take.
const LIMIT: u64 = 600;

/// Runs the kernels over random shapes and values on a board and compares.
pub(crate) fn check(args: &KernelsArgs) -> Result<(), Error> {
    let board = board::named(&args.board)?;
    emulator::require(board)?;
    let work = Work::new(&folder(board)?)?;
    let program = work.0.join("kernels.elf");
    build::build_kernels(board, args.toolchain, &program)?;
    let said = output(board, &program, &work)?;
    Isa::Portable.select();
    let mut memory = Box::new(Memory::new());
    for (group, (name, _)) in GROUPS.iter().take(ON_BOARDS).enumerate() {
        let expected = format!("{name}: {:08x}", run(group, CASES, &mut memory).value());
        let found = said.lines().nth(group).unwrap_or("nothing");
        if found != expected {
            return Err(Error::Kernels {
                board: board.name,
                name,
                found: found.to_owned(),
                expected,
            });
        }
        println!("{} {name}", style("ok").green().bold());
    }
    println!("{} cases of each equal the portable kernels on the host", CASES);
    Ok(())
}

/// What the program prints.
fn output(board: &'static Board, program: &std::path::Path, work: &Work) -> Result<String, Error> {
    let limit = Duration::from_secs(LIMIT);
    let mut emulator = Emulator::start(board, program, &work.0, false, Overlays::Last, limit)?;
    let mut said = Vec::new();
    loop {
        match emulator.next()? {
            Event::Output(bytes) => said.extend(bytes),
            Event::Ended(_) => return Ok(String::from_utf8_lossy(&said).into_owned()),
            Event::TimedOut => {
                return Err(Error::Timeout { seconds: LIMIT, done: 0, images: ON_BOARDS });
            }
        }
    }
}
