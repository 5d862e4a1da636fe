//! The attention sub-block.

use picovit::Site;
use picovit::format::{AttentionRecord, EXP_STEPS};

use super::scale::{Affine, InputQuant, QWeights, multiplier, quantize_weights, shift_for};
use super::{Context, QOp, RAILS8, RAILS16, SiteInfo};
use crate::error::CompileError;
use crate::fuse::FusedOp;
use crate::graph::{Linear, NodeId, Op};

/// Row multipliers divide by at least 255, which leaves this for the ratio of scales.
const LARGEST_RATIO: f64 = 120.0;

/// Smallest half-range treated as different from zero.
const TINY: f64 = 1e-6;

impl Context<'_> {
    pub(super) fn linear(&self, id: NodeId) -> (&Linear, Vec<f64>) {
        let node = &self.graph.nodes[id];
        let Op::Linear(linear) = &node.op else { unreachable!("fusion gave a linear layer") };
        let bias = linear.bias.as_ref().map_or_else(
            || vec![0.0; node.shape.channels],
            |bias| bias.iter().copied().map(f64::from).collect(),
        );
        (linear, bias)
    }

    /// The weights of a linear layer behind such an input.
    pub(super) fn quantized_linear(
        &self,
        id: NodeId,
        input: &InputQuant,
    ) -> Result<QWeights, CompileError> {
        let (linear, bias) = self.linear(id);
        quantize_weights(&self.name(id), &linear.weights, &bias, input, &self.rounding(id, input))
    }

    /// Real value in the middle of each channel of keys and values; queries stay where they are.
    fn qkv_centres(&self, qkv: NodeId, inner: usize) -> Vec<f64> {
        let stats = self.calibration.node(qkv).iter().enumerate();
        stats.map(|(i, s)| if i < inner { 0.0 } else { f64::from(s.middle()) }).collect()
    }

    /// Symmetric scales of queries, keys and values around their centres. No scale is finer than
    /// what `steps`, the accumulator steps, can resolve: channels that hardly move stay in range.
    fn qkv_channels(
        &self,
        qkv: NodeId,
        head_dim: usize,
        centres: &[f64],
        steps: &[f64],
    ) -> Vec<Affine> {
        let inner = centres.len() / 3;
        let stats = self.calibration.node(qkv);
        let half = |i: usize| {
            let half =
                (f64::from(stats[i].max) - centres[i]).max(centres[i] - f64::from(stats[i].min));
            half.max(steps[i] * 127.0 / 0.49).max(TINY)
        };
        let affine = |i: usize, scale: f64| Affine { scale, zero: -centres[i] / scale };
        let mut channels = Vec::with_capacity(3 * inner);
        // The products of a query's and a key's scale must agree within a head; how the product is
        // shared between them may differ from channel to channel.
        let products: Vec<f64> = (0..inner / head_dim)
            .map(|head| {
                let range = head * head_dim..(head + 1) * head_dim;
                range.map(|c| half(c) * half(inner + c)).fold(0.0, f64::max)
            })
            .collect();
        let share = |i: usize, partner: usize| {
            (products[i % inner / head_dim] * half(i) / half(partner)).sqrt() / 127.0
        };
        channels.extend((0..inner).map(|i| affine(i, share(i, inner + i))));
        channels.extend((inner..2 * inner).map(|i| affine(i, share(i, i - inner))));
        channels.extend((2 * inner..3 * inner).map(|i| affine(i, half(i) / 127.0)));
        channels
    }

    pub(super) fn attention(
        &mut self,
        index: usize,
        op: FusedOp,
        stream: f64,
    ) -> Result<QOp, CompileError> {
        let FusedOp::Attention { norm, qkv, attention, proj, add } = op else {
            unreachable!("called for attention")
        };
        let Op::Attention { heads, head_dim, groups } = self.graph.nodes[attention].op else {
            unreachable!("fusion gave attention")
        };
        let inner = heads * head_dim;
        let shape = self.graph.nodes[norm].shape;
        let name = self.name(attention);

        let norm_channels = self.norm_channels(norm);
        let norm8 = self.norm8(norm, stream, &norm_channels)?;
        let input = self.input(norm, norm_channels.clone());
        let (linear, bias) = self.linear(qkv);
        let centres = self.qkv_centres(qkv, inner);
        let bias: Vec<f64> = bias.iter().zip(&centres).map(|(b, centre)| b - centre).collect();
        let mut weights = quantize_weights(
            &self.name(qkv),
            &linear.weights,
            &bias,
            &input,
            &self.rounding(qkv, &input),
        )?;
        let channels = self.qkv_channels(qkv, head_dim, &centres, &weights.scale);
        let scales: Vec<f64> = channels.iter().map(|a| a.scale).collect();
        let (qkv_mult, shift) = weights.multipliers(&self.name(qkv), &scales, 128)?;
        if shift > 0 {
            return Err(CompileError::Range { node: self.name(qkv), what: "a multiplier" });
        }

        let score_ratio = |head: usize| {
            let c = head * head_dim;
            channels[c].scale
                * channels[inner + c].scale
                * (head_dim as f64).powf(-0.5)
                * f64::from(EXP_STEPS)
        };
        let score_shift = shift_for((0..heads).map(score_ratio).fold(0.0, f64::max));
        // A score difference is at most 2 * head_dim * 127^2.
        if (head_dim as u64 * 2 * 127 * 127) << score_shift > i32::MAX as u64 {
            return Err(CompileError::Range { node: name, what: "a score" });
        }
        let exp_mult = (0..heads).map(|h| multiplier(&name, score_ratio(h), score_shift));
        let exp_mult = exp_mult.collect::<Result<_, _>>()?;

        let out = self.attention_channels(attention, &channels[2 * inner..], head_dim);
        let ratio = |c: usize| channels[2 * inner + c].scale / out[c].scale;
        let out_mult = (0..heads).map(|h| (ratio(h * head_dim) * 2f64.powi(32)).round() as u64);
        let out_mult = out_mult.collect();
        let input: InputQuant = self.input(attention, out.clone());
        let mut proj_weights = self.quantized_linear(proj, &input)?;
        let streams = vec![stream; shape.channels];
        let (proj_mult, proj_shift) = proj_weights.multipliers(&self.name(proj), &streams, 128)?;

        let record = AttentionRecord {
            tokens: self.size(norm, "the number of tokens", shape.tokens())?,
            width: self.size(norm, "the width", shape.channels)?,
            heads: self.size(attention, "the number of heads", heads)?,
            head_dim: self.size(attention, "the head width", head_dim)?,
            score_shift: score_shift as u8,
            proj_shift: proj_shift as u8,
            groups: self.size(attention, "the number of groups", groups)?,
            ..Default::default()
        };
        self.site(index, Site::Norm, norm, norm_channels, RAILS8);
        let sites = [(Site::Query, "query"), (Site::Key, "key"), (Site::Value, "value")];
        for (part, (site, suffix)) in sites.into_iter().enumerate() {
            self.sites.push(SiteInfo {
                name: format!("{}.{suffix}", self.name(qkv)),
                op: index,
                site,
                node: qkv,
                column: part * inner,
                channels: channels[part * inner..(part + 1) * inner].to_vec(),
                rails: (Some(-127), 127),
                least: f32::NEG_INFINITY,
            });
        }
        self.site(index, Site::Attention, attention, out, RAILS8);
        let streams = vec![Affine::symmetric(stream); shape.channels];
        self.site(index, Site::Output, add, streams, RAILS16);
        Ok(QOp::Attention {
            record,
            norm: norm8,
            qkv_weights: weights.weights,
            qkv_bias: weights.bias,
            qkv_mult,
            exp_mult,
            out_mult,
            proj_weights: proj_weights.weights,
            proj_bias: proj_weights.bias,
            proj_mult,
        })
    }

    /// Scales of the attention output: those of the values, narrowed by one factor a head as far as
    /// the averages' own ranges allow.
    fn attention_channels(
        &self,
        attention: NodeId,
        values: &[Affine],
        head_dim: usize,
    ) -> Vec<Affine> {
        let stats = self.calibration.node(attention);
        let mut channels = Vec::with_capacity(values.len());
        for (values, stats) in values.chunks_exact(head_dim).zip(stats.chunks_exact(head_dim)) {
            let ratios = values.iter().zip(stats).map(|(value, s)| {
                let centre = -value.zero * value.scale;
                let magnitude = (f64::from(s.max) - centre).max(centre - f64::from(s.min));
                value.scale * 127.0 / magnitude.max(TINY)
            });
            let ratio = ratios.fold(LARGEST_RATIO, f64::min);
            channels.extend(values.iter().map(|value| Affine {
                scale: value.scale / ratio,
                // The centre of the values passes through the average.
                zero: value.zero * ratio,
            }));
        }
        channels
    }
}
