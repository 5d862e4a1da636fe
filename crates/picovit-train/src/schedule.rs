//! Learning rate over time.

use serde::{Deserialize, Serialize};

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine down to the least rate.
    #[default]
    Cosine,
    /// The highest rate to the end.
    Constant,
}

/// Linear warm-up, then what the kind says, then the last rate for the cool-down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// What follows the warm-up.
    pub kind: ScheduleKind,
    /// Highest rate, at the end of the warm-up.
    pub peak: f64,
    /// Rate at the very end of a cosine.
    pub least: f64,
    /// Rate before the warm-up.
    pub start: f64,
    /// Steps of the warm-up.
    pub warmup_steps: usize,
    /// Steps at the end that keep the last rate.
    pub cooldown_steps: usize,
    /// All steps, warm-up and cool-down included.
    pub steps: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            let share = (step + 1) as f64 / self.warmup_steps as f64;
            return self.start + (self.peak - self.start) * share;
        }
        if self.kind == ScheduleKind::Constant {
            return self.peak;
        }
        let around = self.warmup_steps + self.cooldown_steps;
        let length = self.steps.saturating_sub(around + 1).max(1);
        let progress = ((step - self.warmup_steps) as f64 / length as f64).min(1.0);
        let cosine = (std::f64::consts::PI * progress).cos();
        self.least + (self.peak - self.least) * 0.5 * (1.0 + cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: Schedule = Schedule {
        kind: ScheduleKind::Cosine,
        peak: 1e-3,
        least: 1e-5,
        start: 0.0,
        warmup_steps: 10,
        cooldown_steps: 0,
        steps: 100,
    };

    fn assert_rate(schedule: Schedule, step: usize, expected: f64) {
        let found = schedule.rate(step);
        assert!((found - expected).abs() < 1e-12, "step {step}: {found}");
    }

    #[test]
    fn warms_up_and_falls_to_the_least_rate() {
        for (step, rate) in [(0, 1e-4), (9, 1e-3), (10, 1e-3), (99, 1e-5), (500, 1e-5)] {
            assert_rate(COSINE, step, rate);
        }
        assert!((10..99).all(|step| COSINE.rate(step + 1) < COSINE.rate(step)));
    }

    #[test]
    fn warms_up_from_a_rate_and_cools_down() {
        let schedule = Schedule { start: 5e-4, cooldown_steps: 20, ..COSINE };
        for (step, rate) in [(0, 5.5e-4), (9, 1e-3), (79, 1e-5), (80, 1e-5), (99, 1e-5)] {
            assert_rate(schedule, step, rate);
        }
        assert!(schedule.rate(78) > 1e-5);
    }

    #[test]
    fn a_constant_rate_stays() {
        let schedule = Schedule { kind: ScheduleKind::Constant, ..COSINE };
        assert_rate(schedule, 4, 5e-4);
        assert!((9..200).all(|step| schedule.rate(step) == 1e-3));
    }
}
