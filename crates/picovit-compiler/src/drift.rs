//! How far the quantized engine's answers are from the float model's: overall and per layer.

use std::collections::HashMap;

use picovit::{Engine, Model, Probe, Site};
use rayon::prelude::*;
use serde::Serialize;

use crate::artifact::AlignedBytes;
use crate::executor::{Executor, Values};
use crate::graph::Graph;
use crate::quantize::SiteInfo;

/// Drift of one quantized value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerDrift {
    /// Layer name.
    pub name: String,
    /// Signal to quantization noise, in dB; more is better.
    pub sqnr_db: f64,
    /// Values at the end of the integer range, in percent.
    pub saturation: f64,
}

/// Both models on one set of labelled images. Percentages are 0 to 100.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images evaluated.
    pub images: usize,
    /// Top-1 accuracy of the float model.
    pub top1_float: f64,
    /// Top-1 accuracy of the quantized model.
    pub top1_quantized: f64,
    /// Points lost.
    pub top1_drop: f64,
    /// Images on which both models name the same class.
    pub agreement: f64,
    /// Signal to noise of all logits together, in dB.
    pub logit_sqnr_db: f64,
}

/// Power of a signal and of its error.
#[derive(Clone, Copy, Debug, Default)]
struct Power {
    signal: f64,
    noise: f64,
    saturated: u64,
    count: u64,
}

impl Power {
    fn add(&mut self, other: Self) {
        self.signal += other.signal;
        self.noise += other.noise;
        self.saturated += other.saturated;
        self.count += other.count;
    }

    fn db(&self) -> f64 {
        // Equal to the last bit still has to be a number for JSON.
        10.0 * (self.signal.max(1e-30) / self.noise.max(1e-30)).log10()
    }
}

/// Runs an artifact on raw pixels, one arena for all images.
#[derive(Debug)]
pub struct Runner<'m> {
    model: Model<'m>,
    arena: AlignedBytes,
}

impl<'m> Runner<'m> {
    /// A runner with its own arena.
    #[must_use]
    pub fn new(model: &Model<'m>) -> Self {
        Self { model: *model, arena: AlignedBytes::zeroed(model.arena_bytes()) }
    }

    /// Logits of an image of the model's own size, `[height][width][channels]`.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn logits<P: Probe>(&mut self, pixels: &[u8], probe: &mut P) -> Vec<i16> {
        let mut engine =
            Engine::new(&self.model, &mut self.arena).expect("the arena is the model's");
        let input = engine.input();
        assert_eq!(input.len(), pixels.len(), "image of another size");
        input.iter_mut().zip(pixels).for_each(|(q, &p)| *q = (p ^ 0x80) as i8);
        engine.run_with(probe).to_vec()
    }
}

/// Evaluates both models on labelled images, on all cores. `done` is called after every image.
#[must_use]
pub fn evaluate(
    graph: &Graph,
    model: &Model<'_>,
    images: &[(&[u8], usize)],
    done: impl Fn() + Sync,
) -> Evaluation {
    let [evaluation] = evaluate_each(graph, [model], images, done);
    evaluation
}

/// As [`evaluate`] for several artifacts of one model, which are compared with the same run of it.
#[must_use]
pub fn evaluate_each<const N: usize>(
    graph: &Graph,
    models: [&Model<'_>; N],
    images: &[(&[u8], usize)],
    done: impl Fn() + Sync,
) -> [Evaluation; N] {
    let executor = Executor::new(graph);
    let results: Vec<[Image; N]> = images
        .par_iter()
        .map_init(
            || models.map(|model| (Runner::new(model), f64::from(model.header().logit_scale))),
            |runners, &(pixels, label)| {
                let values = executor.run_pixels(pixels);
                let images = runners.each_mut().map(|(runner, scale)| {
                    let logits = runner.logits(pixels, &mut picovit::NoProbe);
                    Image::compare(values.logits(), &logits, *scale, label)
                });
                done();
                images
            },
        )
        .collect();
    core::array::from_fn(|i| Evaluation::of(results.iter().map(|images| images[i])))
}

/// Both models' answers to an image.
#[derive(Clone, Copy)]
struct Image {
    float_right: bool,
    quantized_right: bool,
    agree: bool,
    power: Power,
}

impl Image {
    fn compare(real: &[f32], quantized: &[i16], scale: f64, label: usize) -> Self {
        let mut power = Power::default();
        for (&real, &q) in real.iter().zip(quantized) {
            power.signal += f64::from(real).powi(2);
            power.noise += (f64::from(real) - scale * f64::from(q)).powi(2);
        }
        let (float, quantized) = (argmax(real), picovit::postprocess::argmax(quantized));
        Self {
            float_right: float == label,
            quantized_right: quantized == label,
            agree: float == quantized,
            power,
        }
    }
}

impl Evaluation {
    fn of(images: impl ExactSizeIterator<Item = Image>) -> Self {
        let count = images.len();
        let (mut float, mut quantized, mut agree) = (0, 0, 0);
        let mut power = Power::default();
        for image in images {
            float += usize::from(image.float_right);
            quantized += usize::from(image.quantized_right);
            agree += usize::from(image.agree);
            power.add(image.power);
        }
        let percent = |images: usize| 100.0 * images as f64 / count.max(1) as f64;
        Self {
            images: count,
            top1_float: percent(float),
            top1_quantized: percent(quantized),
            top1_drop: percent(float) - percent(quantized),
            agreement: percent(agree),
            logit_sqnr_db: power.db(),
        }
    }
}

/// Top-1 accuracy of an artifact alone, in percent.
#[must_use]
pub fn accuracy(model: &Model<'_>, images: &[(&[u8], usize)], done: impl Fn() + Sync) -> f64 {
    let right = images.par_iter().map_init(
        || Runner::new(model),
        |runner, &(pixels, label)| {
            let logits = runner.logits(pixels, &mut picovit::NoProbe);
            done();
            usize::from(picovit::postprocess::argmax(&logits) == label)
        },
    );
    100.0 * right.sum::<usize>() as f64 / images.len().max(1) as f64
}

/// Index of the largest value; the first of equals.
#[must_use]
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

/// Drift of every quantized value over some images, in execution order.
#[must_use]
pub fn layers(
    graph: &Graph,
    model: &Model<'_>,
    sites: &[SiteInfo],
    images: &[&[u8]],
    done: impl Fn() + Sync,
) -> Vec<LayerDrift> {
    let executor = Executor::new(graph);
    let index: HashMap<(usize, Site), usize> =
        sites.iter().enumerate().map(|(i, s)| ((s.op, s.site), i)).collect();
    // Collected per image and added in order: independent of scheduling to the last bit.
    let results: Vec<Vec<Power>> = images
        .par_iter()
        .map_init(
            || Runner::new(model),
            |runner, pixels| {
                let values = executor.run_pixels(pixels);
                let power = vec![Power::default(); sites.len()];
                let mut meter = Meter { graph, sites, index: &index, values: &values, power };
                runner.logits(pixels, &mut meter);
                done();
                meter.power
            },
        )
        .collect();
    let mut total = vec![Power::default(); sites.len()];
    for image in &results {
        total.iter_mut().zip(image).for_each(|(total, power)| total.add(*power));
    }
    let drift = sites.iter().zip(&total).map(|(site, power)| LayerDrift {
        name: site.name.clone(),
        sqnr_db: power.db(),
        saturation: 100.0 * power.saturated as f64 / power.count.max(1) as f64,
    });
    drift.collect()
}

/// A value that the engine reports.
#[derive(Clone, Copy, Debug)]
enum Reported {
    Integer(i32),
    Float(f32),
}

/// Compares what the engine reports with the float values.
struct Meter<'a> {
    graph: &'a Graph,
    sites: &'a [SiteInfo],
    index: &'a HashMap<(usize, Site), usize>,
    values: &'a Values,
    power: Vec<Power>,
}

impl Meter<'_> {
    fn take(
        &mut self,
        key: (usize, Site),
        row: usize,
        column: usize,
        data: impl Iterator<Item = Reported>,
    ) {
        let Some(&index) = self.index.get(&key) else { return };
        let site = &self.sites[index];
        let channels = site.channels.len();
        let width = self.graph.nodes[site.node].shape.channels;
        let float = self.values.node(site.node);
        let power = &mut self.power[index];
        for (i, q) in (row * channels + column..).zip(data) {
            let (token, channel) = (i / channels, i % channels);
            let real = f64::from(float[token * width + site.column + channel].max(site.least));
            let error = real
                - match q {
                    Reported::Integer(q) => site.channels[channel].real(q),
                    Reported::Float(value) => f64::from(value),
                };
            power.signal += real * real;
            power.noise += error * error;
            power.count += 1;
            let (low, high) = site.rails;
            if let Reported::Integer(q) = q {
                power.saturated += u64::from(q >= high || low.is_some_and(|low| q <= low));
            }
        }
    }
}

impl Probe for Meter<'_> {
    fn i8(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i8]) {
        self.take((op, site), row, column, data.iter().map(|&q| Reported::Integer(q.into())));
    }

    fn i16(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i16]) {
        self.take((op, site), row, column, data.iter().map(|&q| Reported::Integer(q.into())));
    }

    fn f32(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[f32]) {
        self.take((op, site), row, column, data.iter().map(|&value| Reported::Float(value)));
    }
}
