//! Builds picovit firmware, runs it on emulated boards and measures it
