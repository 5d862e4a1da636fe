//! Datasets, augmentation and the training loop of picovit
