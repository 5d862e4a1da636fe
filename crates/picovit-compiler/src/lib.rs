//! Quantizer, memory planner and packer for picovit artifacts

pub mod graph;
