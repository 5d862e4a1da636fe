//! The picovit command line: train, import, quantize, evaluate, inspect
