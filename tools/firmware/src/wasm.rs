//! Instructions of an inference as a WebAssembly module, with vectors and without, and whether it
//! computes what the host does.
//!
//! An interpreter runs the modules and counts: no time is taken, and every machine counts the same.
//! Constants and local variables count nothing, as compilers make operands and registers of them.

use picovit::kernels::Isa;
use picovit::{Engine, Model};
use picovit_app::Clip;
use picovit_kernel_check::{CASES, GROUPS, Memory};
use serde::Serialize;
use wasmi::{Config, Instance, Linker, Module, OperatorCost, Store, WasmParams, WasmResults};

use crate::WasmArgs;
use crate::build;
use crate::error::Error;
use crate::model::Artifact;
use crate::output::{grouped, sheet};
use crate::paths::shown;
use crate::pictures;
use crate::report::json;

/// Builds that are compared: their names, and extensions of the instruction set.
const BUILDS: [(&str, &[&str]); 2] = [("plain", &[]), ("simd128", &["simd128"])];

/// More than anything here takes.
const FUEL: u64 = u64::MAX / 2;

#[derive(Serialize)]
struct Report {
    model: String,
    macs: u64,
    images: u32,
    instruction_sets: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    instructions: u64,
    per_mac: f64,
    times_fewer: f64,
    module_bytes: usize,
}

/// Counts, compares and shows.
pub(crate) fn count(args: &WasmArgs) -> Result<(), Error> {
    if args.check {
        check(args)?;
    }
    let artifact = Artifact::find(args.model.as_deref())?;
    let model = artifact.model();
    let clip = pictures::clip(&pictures::shipped(), args.images as usize, false)?;
    let images = images(&model, &clip)?;
    let ops = (0..model.op_count()).filter_map(|index| model.op(index).ok());
    let macs = ops.map(|op| op.macs()).sum::<u64>();
    let mut rows: Vec<Row> = Vec::new();
    for (name, extensions) in BUILDS {
        let module = build::build_wasm(args.toolchain, extensions, Some(&artifact))?;
        let module_bytes = module.len();
        let instructions = Runner::new(&module)?.classify(&images)?;
        let plain = rows.first().map_or(instructions, |row| row.instructions);
        rows.push(Row {
            name,
            instructions,
            per_mac: instructions as f64 / macs as f64,
            times_fewer: plain as f64 / instructions as f64,
            module_bytes,
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
    println!("{}: {} MACs", shown(&artifact.path), grouped(macs));
    println!("{table}");
    println!("logits of {} images equal the host's", images.len());
    let report =
        Report { model: shown(&artifact.path), macs, images: args.images, instruction_sets: rows };
    json(args.json.as_deref(), &report)
}

/// Compares the kernels with the host's portable ones.
fn check(args: &WasmArgs) -> Result<(), Error> {
    Isa::Portable.select();
    let mut memory = Box::new(Memory::new());
    let expected: Vec<u32> = (0..GROUPS.len())
        .map(|group| picovit_kernel_check::run(group, CASES, &mut memory).value())
        .collect();
    Isa::best().select();
    for (build, extensions) in BUILDS {
        let module = build::build_wasm(args.toolchain, extensions, None)?;
        let mut runner = Runner::new(&module)?;
        for ((index, (name, _)), &expected) in (0u32..).zip(GROUPS).zip(&expected) {
            let found: u32 = runner.call("group", (index, CASES))?;
            if found != expected {
                let [found, expected] = [found, expected].map(|sum| format!("{sum:08x}"));
                return Err(Error::Kernels { board: build, name, found, expected });
            }
        }
        println!("{build}: {CASES} cases of each group equal the portable kernels on the host");
    }
    Ok(())
}

/// An image in the model's numbers, and the host's logits.
struct Image {
    values: Vec<i8>,
    logits: Vec<i16>,
}

/// The images of a clip.
fn images(model: &Model<'_>, clip: &[u8]) -> Result<Vec<Image>, Error> {
    let failed = |reason: String| Error::Log { reason };
    let clip = Clip::parse(clip).map_err(|error| failed(error.to_string()))?;
    let mut arena = vec![0u128; model.arena_bytes().div_ceil(size_of::<u128>())];
    let engine = Engine::new(model, bytemuck::cast_slice_mut(&mut arena));
    let mut engine = engine.map_err(|error| failed(error.to_string()))?;
    let shots = (0..clip.len()).filter_map(|index| clip.get(index));
    let images = shots.map(|shot| {
        let (height, width, channels) = (model.height(), model.width(), model.channels());
        picovit::image::fit(&shot.frame, height, width, channels, engine.input())
            .map_err(|error| failed(error.to_string()))?;
        let values = engine.input().to_vec();
        Ok(Image { values, logits: engine.run().to_vec() })
    });
    images.collect()
}

/// A module that runs.
struct Runner {
    store: Store<()>,
    instance: Instance,
}

impl Runner {
    fn new(module: &[u8]) -> Result<Self, Error> {
        let mut costs = OperatorCost::default();
        for free in [
            &mut costs.local_get,
            &mut costs.local_set,
            &mut costs.local_tee,
            &mut costs.i32_const,
            &mut costs.i64_const,
            &mut costs.v128_const,
        ] {
            *free = 0;
        }
        let mut config = Config::default();
        config.consume_fuel(true).operator_cost(costs);
        let engine = wasmi::Engine::new(&config);
        let module = Module::new(&engine, module).map_err(trap)?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(FUEL).map_err(trap)?;
        let linker = Linker::new(&engine);
        let instance = linker.instantiate_and_start(&mut store, &module).map_err(trap)?;
        Ok(Self { store, instance })
    }

    /// Calls a function of the module.
    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, values: P) -> Result<R, Error> {
        let function = self.instance.get_typed_func::<P, R>(&self.store, name).map_err(trap)?;
        function.call(&mut self.store, values).map_err(trap)
    }

    /// Compares the logits of all images; the instructions of one inference on average.
    fn classify(&mut self, images: &[Image]) -> Result<u64, Error> {
        let classes: u32 = self.call("start", ())?;
        let mut instructions = 0;
        for (number, image) in images.iter().enumerate() {
            for (index, &value) in (0u32..).zip(&image.values) {
                self.call::<_, ()>("set", (index, i32::from(value)))?;
            }
            let before = self.store.get_fuel().map_err(trap)?;
            self.call::<_, ()>("infer", ())?;
            instructions += before - self.store.get_fuel().map_err(trap)?;
            let logits: Result<Vec<i32>, _> =
                (0..classes).map(|index| self.call("logit", index)).collect();
            let (logits, expected) = (logits?, &image.logits);
            if !logits.iter().copied().eq(expected.iter().copied().map(i32::from)) {
                return Err(Error::Mismatch {
                    board: "module",
                    what: "logits".to_owned(),
                    first: number,
                    on_board: format!("{logits:?}"),
                    on_host: format!("{expected:?}"),
                });
            }
        }
        Ok(instructions / images.len().max(1) as u64)
    }
}

/// What an interpreter complains of.
fn trap(error: wasmi::Error) -> Error {
    Error::Module { reason: error.to_string() }
}
