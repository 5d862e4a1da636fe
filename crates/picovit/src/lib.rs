//! Compact vision transformers on microcontrollers: a no_std, alloc-free int8 inference engine
#![no_std]
pub mod format;
