//! Who is told how training goes.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use crate::qat::Int8Metrics;
use crate::state::EpochMetrics;

/// Hears about progress and may stop the run.
pub trait Observer {
    /// A run starts, or goes on behind `done` epochs.
    fn start(&mut self, _backend: &str, _done: usize, _epochs: usize, _out_dir: &Path) {}

    /// What was done to the weights that the run starts from, as a resampled embedding.
    fn note(&mut self, _text: &str) {}

    /// Quantization-aware training is about to begin; so far, the int8 artifact does this well.
    fn before(&mut self, _int8: &Int8Metrics) {}

    /// A step is done. `Break` aborts the run at once; `--resume` repeats the epoch.
    fn step(&mut self, _epoch: usize, _step: usize, _steps: usize, _loss: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// An epoch is done and saved.
    fn epoch(&mut self, _metrics: &EpochMetrics, _best: bool) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// A progress bar on a terminal, and one line per epoch anywhere.
#[derive(Debug)]
pub struct Console {
    bar: ProgressBar,
    epochs: usize,
}

impl Default for Console {
    fn default() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template(
            "{prefix:>14} {bar:32} {pos}/{len} steps, {per_sec}, eta {eta}, {msg}",
        );
        bar.set_style(style.expect("the template is well formed"));
        Self { bar, epochs: 0 }
    }
}

impl Console {
    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

impl Observer for Console {
    fn start(&mut self, backend: &str, done: usize, epochs: usize, out_dir: &Path) {
        self.epochs = epochs;
        let from = if done == 0 { String::new() } else { format!(", resumed after epoch {done}") };
        self.line(&format!("training on {backend} into {}{from}", out_dir.display()));
    }

    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn before(&mut self, int8: &Int8Metrics) {
        self.line(&format!("before the first epoch: {}", describe(int8)));
    }

    fn step(&mut self, epoch: usize, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        if step == 1 {
            self.bar.reset();
            self.bar.set_length(steps as u64);
            self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        }
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {loss:.3}"));
        ControlFlow::Continue(())
    }

    fn epoch(&mut self, m: &EpochMetrics, best: bool) -> ControlFlow<()> {
        let average = m.average_accuracy.map(|a| format!(" (average {:.2} %)", 100.0 * a));
        let average = average.unwrap_or_default();
        let int8 = m.best_int8().map(|int8| format!("  {}", describe(&int8)));
        let int8 = int8.unwrap_or_default();
        self.line(&format!(
            "epoch {:>3}/{}  lr {:.2e}  train loss {:.4} accuracy {:.2} %  validation loss {:.4} \
             accuracy {:.2} %{average}{int8}  {:.0} images/s{}",
            m.epoch,
            self.epochs,
            m.learning_rate,
            m.train_loss,
            100.0 * m.train_accuracy,
            m.val_loss,
            100.0 * m.val_accuracy,
            m.images_per_second,
            if best { "  best" } else { "" },
        ));
        if m.epoch == self.epochs {
            self.bar.finish_and_clear();
        }
        ControlFlow::Continue(())
    }
}

fn describe(int8: &Int8Metrics) -> String {
    format!(
        "int8 accuracy {:.2} % agreement {:.2} % logits {:.1} dB",
        100.0 * int8.accuracy,
        100.0 * int8.agreement,
        int8.logit_sqnr_db
    )
}
