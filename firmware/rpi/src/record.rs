//! What is said about a frame.

use picovit::{Model, Prediction};
use picovit_app::Outcome;
use serde::Serialize;

/// One line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Record {
    /// Number of the frame in the stream, from 0; those left out count.
    pub frame: u64,
    /// The class, as shown.
    pub label: String,
    /// Its index.
    pub class: u16,
    /// Its probability, the mean of the last frames.
    pub probability: f64,
    /// Whether that is too little to believe it.
    pub unsure: bool,
    /// The most probable classes of the last frames.
    pub top: Vec<Guess>,
    /// What the network says about this frame alone.
    pub alone: Guess,
    /// What the inference took.
    pub inference_us: u64,
    /// Frames left out so far, because newer ones had come.
    pub dropped: u64,
    /// The network's answer as it is, on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<i16>>,
}

/// A class and how probable it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Guess {
    /// Its name.
    pub label: String,
    /// Its index.
    pub class: u16,
    /// 0 to 1.
    pub probability: f64,
}

impl Guess {
    fn new(model: &Model<'_>, prediction: Prediction) -> Self {
        let class = prediction.class;
        Self { label: label(model, class), class, probability: share(prediction.probability) }
    }
}

impl Record {
    /// What there is to say about an outcome.
    pub(crate) fn new(
        model: &Model<'_>,
        outcome: &Outcome,
        (frame, dropped): (u64, u64),
        logits: Option<&[i16]>,
    ) -> Self {
        let best = outcome.verdict.best();
        Self {
            frame,
            label: label(model, best.class),
            class: best.class,
            probability: share(best.probability),
            unsure: !outcome.verdict.is_sure(),
            top: outcome.top.iter().map(|&prediction| Guess::new(model, prediction)).collect(),
            alone: Guess::new(model, outcome.predicted),
            inference_us: outcome.cost.value(),
            dropped,
            logits: logits.map(<[i16]>::to_vec),
        }
    }
}

/// A class's name; artifacts may go without.
pub(crate) fn label(model: &Model<'_>, class: u16) -> String {
    model.label(class.into()).map_or_else(|| format!("class {class}"), str::to_owned)
}

/// A probability of 65535ths, with the digits that tell them apart.
fn share(probability: u16) -> f64 {
    (f64::from(probability) * 100_000.0 / 65_535.0).round() / 100_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_apart() {
        assert_eq!((share(0), share(65_535)), (0.0, 1.0));
        assert!((0..65_535).all(|p| share(p) < share(p + 1)));
    }
}
