//! `picovit models`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};
use picovit_models::ModelConfig;
use serde::Serialize;

use crate::output::{self, grouped, table};

/// List the models.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Write the list as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    model: String,
    image: [usize; 3],
    classes: usize,
    parameters: u64,
    macs: u64,
}

pub fn run(args: &Args) -> Result<()> {
    output::check(&[args.json.as_deref()], &[])?;
    let mut rows = Vec::new();
    let mut table = table(["model", "image", "classes", "parameters", "MACs"]);
    for name in ModelConfig::names() {
        let config = ModelConfig::named(&name).into_diagnostic()?;
        let image = [config.image_size.height, config.image_size.width, config.channels];
        table.add_row([
            name.clone(),
            format!("{}x{}x{}", image[0], image[1], image[2]),
            config.classes.to_string(),
            grouped(config.params()),
            grouped(config.macs()),
        ]);
        rows.push(Row {
            model: name,
            image,
            classes: config.classes,
            parameters: config.params(),
            macs: config.macs(),
        });
    }
    output::report(args.json.as_deref(), &rows, || println!("{table}"))
}
