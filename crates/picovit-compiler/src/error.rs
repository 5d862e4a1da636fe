//! Why a graph cannot become an artifact.

/// Why compilation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A node does not belong to any operation the engine has.
    #[error("{node}: {reason}; the engine has no operation for it")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// What does not fit.
        reason: String,
    },
    /// A size does not fit the artifact's fields.
    #[error("{node}: {what} is {value}, the artifact format allows at most {limit}")]
    TooLarge {
        /// Name of the node.
        node: String,
        /// Which size.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The limit.
        limit: usize,
    },
    /// No calibration image.
    #[error("no calibration image: quantization needs at least one, better 512")]
    NoCalibration,
    /// A value is infinite or not a number.
    #[error("{node}: its float values are not finite; the checkpoint is damaged or diverged")]
    NotFinite {
        /// Name of the node.
        node: String,
    },
    /// A constant does not fit its integer field.
    #[error("{node}: {what} leaves the range of its integer field")]
    Range {
        /// Name of the node.
        node: String,
        /// Which constant.
        what: &'static str,
    },
    /// A layer to keep in f16 does not exist.
    #[error("there is no layer `{name}`; layers: {}", .known.join(", "))]
    UnknownLayer {
        /// The name given.
        name: String,
        /// All layers.
        known: Vec<String>,
    },
    /// No variant of the network fits the arena that was allowed.
    #[error(
        "the arena cannot be {budget} bytes: {} {smallest}, while `{op}` runs with {}",
        if *.minimal { "it needs at least" } else { "the smallest found is" },
        .buffers.join(", ")
    )]
    ArenaBudget {
        /// Bytes allowed.
        budget: usize,
        /// The smallest arena.
        smallest: usize,
        /// Whether no smaller one exists, or none was found.
        minimal: bool,
        /// Operation that holds it.
        op: String,
        /// What exists during the operation, with its size.
        buffers: Vec<String>,
    },
    /// The memory plan breaks its rules: a defect of the compiler.
    #[error("internal error: the memory plan is wrong: {0}; please report this")]
    Plan(#[from] crate::verify::Fault),
    /// The engine refuses what was written: a defect of the compiler.
    #[error("internal error: the packed artifact is refused: {0}")]
    Refused(picovit::Error),
}
