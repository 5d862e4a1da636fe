//! Workspace-level tests of picovit: accuracy drift, bit exactness, checkpoint parity, firmware

pub mod reference;
