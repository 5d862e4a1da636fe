//! Compact transformer families in Burn, checkpoint import and lowering to the picovit graph
