//! The picovit command line: from a trained checkpoint to an artifact and its drift report.
#![forbid(unsafe_code)]

mod artifact;
mod commands;
mod data;
mod output;

use clap::{Parser, Subcommand};
use commands::{
    bench, eval, export, export_calibration, import, inspect, models, predict, quantize, train,
};

/// Compact vision transformers on microcontrollers.
#[derive(Debug, Parser)]
#[command(name = "picovit", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model; writes best.mpk, its configuration and metrics.
    Train(Box<train::Args>),
    /// Import a published state dict.
    Import(import::Args),
    /// Export a checkpoint's weights to safetensors, named as the model's authors name them.
    Export(export::Args),
    /// Quantize a checkpoint to an artifact and report the drift.
    Quantize(quantize::Args),
    /// Measure an artifact on a test set, alone or against its checkpoint.
    Eval(eval::Args),
    /// Time an artifact on this machine against other engines on the same network.
    Bench(bench::Args),
    /// Classify images.
    Predict(predict::Args),
    /// Show what is in an artifact: operations, shapes, bytes, arena.
    Inspect(inspect::Args),
    /// List every model configuration with parameters and multiply-accumulates.
    Models(models::Args),
    /// Write Fashion-MNIST's calibration images to files that a repository can ship.
    ExportCalibration(export_calibration::Args),
    /// Build, run and measure firmware (the same as `cargo firmware`).
    Firmware(picovit_firmware_tool::Cli),
}

fn main() -> miette::Result<()> {
    picovit_firmware_tool::end_with_the_reader(|| match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Models(args) => models::run(&args),
        Command::ExportCalibration(args) => export_calibration::run(&args),
        Command::Firmware(cli) => picovit_firmware_tool::run(cli),
    })
}
