//! Writes the calibration images that the repository ships beside the Fashion-MNIST model.
//!
//! `cargo run -p picovit-train --example export_calibration -- 512 models/cct_2_3x2_fmnist/data`

use std::path::Path;

use picovit_train::data::export_calibration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, count, out] = arguments.as_slice() else {
        return Err("usage: export_calibration COUNT FOLDER".into());
    };
    export_calibration(None, count.parse()?, Path::new(out))?;
    Ok(())
}
