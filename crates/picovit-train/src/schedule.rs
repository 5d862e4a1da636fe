//! Learning rate over time.

/// Linear warm-up, then a half cosine down to the least rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest rate, at the end of the warm-up.
    pub peak: f64,
    /// Rate at the very end.
    pub least: f64,
    /// Steps of the warm-up.
    pub warmup_steps: usize,
    /// All steps, the warm-up included.
    pub steps: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let length = self.steps.saturating_sub(self.warmup_steps + 1).max(1);
        let progress = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        let cosine = (std::f64::consts::PI * progress).cos();
        self.least + (self.peak - self.least) * 0.5 * (1.0 + cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_and_falls_to_the_least_rate() {
        let schedule = Schedule { peak: 1e-3, least: 1e-5, warmup_steps: 10, steps: 100 };
        assert!((schedule.rate(0) - 1e-4).abs() < 1e-12);
        assert!((schedule.rate(9) - 1e-3).abs() < 1e-12);
        assert!((schedule.rate(10) - 1e-3).abs() < 1e-12);
        assert!((schedule.rate(99) - 1e-5).abs() < 1e-12);
        assert!((schedule.rate(500) - 1e-5).abs() < 1e-12);
        assert!((10..99).all(|step| schedule.rate(step + 1) < schedule.rate(step)));
    }
}
