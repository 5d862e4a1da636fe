//! Running a model in an arena.

use crate::error::Error;
use crate::format::ALIGN;
use crate::model::Model;

/// Where in an operation a reported value arises. Every operation reports its [`Self::Output`]; the other sites
/// name those that have them. Float operations report no value in front of an activation, and no
/// [`Self::Residual`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The operation's result.
    Output,
    /// Output of the layer norm in an attention, MLP or sequence pooling.
    Norm,
    /// int16 output of an MLP's layer norm that replaces the residual stream.
    Residual,
    /// Queries of an attention.
    Query,
    /// Keys of an attention.
    Key,
    /// Values of an attention.
    Value,
    /// Attention output, before the projection.
    Attention,
    /// First linear layer of an MLP, expansion of an inverted residual, convolution with an activation, in
    /// front of it.
    Hidden,
    /// Activation of [`Self::Hidden`]; that of a convolution is its [`Self::Output`].
    Activation,
    /// Depthwise convolution of an inverted residual, in front of its activation.
    Depthwise,
    /// Activation of [`Self::Depthwise`].
    DepthwiseActivation,
    /// Second linear layer of an MLP, in front of its activation.
    Second,
}

/// Sees intermediate values as they arise, for drift analysis and tests. Every method does nothing
/// unless overridden; with [`NoProbe`] the calls vanish.
///
/// `data` starts at token `row`, channel `column` of the value at `site` of operation `op` and is
/// contiguous. Values that the engine computes more than once may be reported more than once.
pub trait Probe {
    /// int8 values.
    fn i8(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i8]) {
        let _ = (op, site, row, column, data);
    }

    /// int16 values.
    fn i16(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i16]) {
        let _ = (op, site, row, column, data);
    }

    /// Floats, of f16 and mixed artifacts.
    fn f32(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[f32]) {
        let _ = (op, site, row, column, data);
    }
}

/// The probe that sees nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}

/// A model and its working memory.
///
/// Write the image to [`Self::input`], then call [`Self::run`]. The input buffer is reused during
/// the run, so it must be written anew for every image.
#[derive(Debug)]
pub struct Engine<'m, 'a> {
    model: Model<'m>,
    arena: &'a mut [u8],
}

impl<'m, 'a> Engine<'m, 'a> {
    /// Joins a model with an arena of at least [`Model::arena_bytes`].
    ///
    /// # Errors
    /// [`Error::ArenaTooSmall`] or [`Error::ArenaAlignment`].
    pub fn new(model: &Model<'m>, arena: &'a mut [u8]) -> Result<Self, Error> {
        let needed = model.arena_bytes();
        let given = arena.len();
        let arena = arena.get_mut(..needed).ok_or(Error::ArenaTooSmall { needed, given })?;
        if arena.as_ptr().align_offset(ALIGN) != 0 {
            return Err(Error::ArenaAlignment);
        }
        Ok(Self { model: *model, arena })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The input image, `[height][width][channels]`, each value the pixel minus 128.
    pub fn input(&mut self) -> &mut [i8] {
        let length = self.model.height() * self.model.width() * self.model.channels();
        let start = self.model.header().input as usize;
        let bytes = self.arena.get_mut(start..start + length).unwrap_or_default();
        bytemuck::try_cast_slice_mut(bytes).unwrap_or_default()
    }

    /// One inference: the logits of the image in [`Self::input`], `real = logit_scale * logit`.
    pub fn run(&mut self) -> &[i16] {
        self.run_with(&mut NoProbe)
    }

    /// One inference under the eyes of a probe.
    pub fn run_with<P: Probe>(&mut self, probe: &mut P) -> &[i16] {
        for index in 0..self.model.op_count() {
            self.run_op_with(index, probe);
        }
        self.logits()
    }

    /// One operation. All of them in turn, 0 to [`Model::op_count`], are what [`Self::run`] does:
    /// for measuring each, or for doing something else in between. There must be no gap and no
    /// repetition; an index that is not below the count does nothing.
    pub fn run_op(&mut self, index: u16) {
        self.run_op_with(index, &mut NoProbe);
    }

    #[inline(always)]
    fn run_op_with<P: Probe>(&mut self, index: u16, probe: &mut P) {
        // A parsed model has no invalid operation.
        if let Ok(op) = self.model.op(index) {
            op.run(&self.model, self.arena, &mut Tap { probe, op: index as usize });
        }
    }

    /// The logits, once all operations have run.
    #[must_use]
    pub fn logits(&self) -> &[i16] {
        let start = self.model.header().logits as usize;
        let bytes = self.arena.get(start..start + 2 * self.model.classes());
        bytemuck::try_cast_slice(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

/// A probe bound to one operation.
pub(crate) struct Tap<'p, P> {
    probe: &'p mut P,
    op: usize,
}

impl<P: Probe> Tap<'_, P> {
    #[inline(always)]
    pub(crate) fn i8(&mut self, site: Site, row: usize, column: usize, data: &[i8]) {
        self.probe.i8(self.op, site, row, column, data);
    }

    #[inline(always)]
    pub(crate) fn i16(&mut self, site: Site, row: usize, column: usize, data: &[i16]) {
        self.probe.i16(self.op, site, row, column, data);
    }

    #[cfg(feature = "f16")]
    #[inline(always)]
    pub(crate) fn f32(&mut self, site: Site, row: usize, column: usize, data: &[f32]) {
        self.probe.f32(self.op, site, row, column, data);
    }
}
