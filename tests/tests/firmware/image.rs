//! What is said about firmware that has not run: its deepest stack, what can panic, and that there is no
//! heap.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use object::{Object, ObjectSymbol};
use tempfile::TempDir;

use crate::artifacts::quantized_for;
use crate::figures::figures;
use crate::{Run, complaint, firmware, said};

#[test]
fn no_board_takes_more_stack_than_was_computed() {
    let dir = TempDir::new().unwrap();
    let (json, displays) = (dir.path().join("figures.json"), dir.path().join("all"));
    for (board, target) in
        [("mps2-an386", "cortex-m4"), ("mps2-an505", "cortex-m33"), ("mps3-an547", "cortex-m55")]
    {
        for name in ["cct_2_3x2_fmnist", "mobilevit_xxs_fmnist"] {
            let model = quantized_for(name, "int8", target);
            let size = figures("size", board, &model, &json);
            let worst = size["stacks"][0]["worst_bytes"].as_u64().expect("it can be computed");
            let run = Run { board, ..Run::new(&model, 3) }.report(&displays, &json);
            let taken = run["stack_bytes"].as_u64().unwrap();
            assert!(taken <= worst, "{board}, {name}: {taken} taken, {worst} computed");
            // Far above would be of no use.
            assert!(worst <= 2 * taken, "{board}, {name}: {taken} taken, {worst} computed");
            assert!(Some(worst) <= size["stack_reserved_bytes"].as_u64(), "{size}");
            assert_eq!(size["heap_functions"].as_array().map(Vec::len), Some(0), "{size}");
        }
    }
}

/// Texts of the log of a board's program, which the linker keeps as names of symbols.
fn logged(board: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/firmware").join(board);
    let content = fs::read(folder.join("firmware.elf")).unwrap();
    let elf = object::File::parse(&*content).unwrap();
    let names = elf.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned));
    names.filter(|name| name.contains("defmt_")).collect()
}

/// Where UF2 blocks go, with the first word of each.
fn blocks(uf2: &[u8]) -> Vec<(u32, u32)> {
    let word = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    uf2.as_chunks::<512>().0.iter().map(|block| (word(block, 12), word(block, 32))).collect()
}

#[test]
fn firmware_for_boards_has_no_heap_and_enough_stack_and_none_of_it_of_ours_panics() {
    let dir = TempDir::new().unwrap();
    let (json, file) = (dir.path().join("size.json"), dir.path().join("pico2.uf2"));
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m4");
    for (board, stacks) in [("pico2", 2), ("stm32h7", 1)] {
        let size = figures("size", board, &model, &json);
        assert_eq!(size["heap_functions"].as_array().map(Vec::len), Some(0), "{size}");
        let all = size["stacks"].as_array().unwrap();
        assert_eq!(all.len(), stacks, "{size}");
        for stack in all {
            let [worst, reserved] =
                ["worst_bytes", "reserved_bytes"].map(|key| stack[key].as_u64().unwrap());
            assert!((256..=reserved).contains(&worst), "{board}: {stack}");
        }
        let calls = size["panic_calls"].as_object().unwrap();
        let ours: Vec<_> = calls.keys().filter(|name| name.starts_with("picovit")).collect();
        assert!(ours.is_empty(), "{board}: {ours:?} can panic");
        // What its guide says that it logs; errors alone would be compiled without being told.
        let logged = logged(board);
        for text in ["self-test passed", "camera: frames again", "the frames are not what they"] {
            assert!(logged.iter().any(|log| log.contains(text)), "{board} does not log: {text}");
        }
    }

    let flash = |more: &[&str]| {
        let args = ["flash", "--board", "pico2", "--model"].map(OsStr::new);
        let paths = [model.as_os_str(), "--uf2".as_ref(), file.as_os_str()];
        firmware(args.into_iter().chain(paths).chain(more.iter().map(OsStr::new)))
    };
    let refused = complaint(&flash(&["--stack", "2"]));
    assert!(
        refused.contains("core 1 may take") && refused.contains("2,048 are reserved"),
        "{refused}"
    );
    assert!(refused.contains("--stack KB") && !file.exists(), "{refused}");

    let output = flash(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let blocks = blocks(&fs::read(&file).unwrap());
    // The table of exceptions begins with the stack, whose end the memory map has in RAM.
    assert_eq!((blocks[0].0, blocks[0].1 >> 24), (0x1000_0000, 0x20));
    let model = blocks.iter().find(|(address, _)| *address >= 0x1010_0000).unwrap();
    assert_eq!(*model, (0x1010_0000, u32::from_le_bytes(*b"PVRG")));
    let firmware = blocks.iter().take_while(|(address, _)| *address < 0x1010_0000).count();
    assert!((200..4096).contains(&firmware), "{firmware} blocks of firmware");
}
