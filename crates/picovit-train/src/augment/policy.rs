//! Policies over changes of geometry and tone: AutoAugment and RandAugment.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{geometry, tone};
use crate::random::Random;

/// What happens to an image between the flip and the erasing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// One of the 25 pairs that Cubuk et al. found for CIFAR-10.
    AutoAugment,
    /// Some changes out of fifteen, each with probability 1/2, stronger with the magnitude.
    RandAugment {
        /// Number of changes drawn.
        operations: usize,
        /// Mean strength, in 0..=10.
        magnitude: f32,
        /// Standard deviation of the strength.
        deviation: f32,
    },
}

impl Policy {
    /// RandAugment as the CCT authors use it: two changes, magnitude 9, deviation 0.5.
    pub const RAND_AUGMENT: Self =
        Self::RandAugment { operations: 2, magnitude: 9.0, deviation: 0.5 };

    pub(super) fn apply(self, size: [usize; 3], random: &mut Random, image: &mut [u8]) {
        match self {
            Self::None => {}
            Self::AutoAugment => {
                for (operation, probability, level) in CIFAR[random.below(CIFAR.len())] {
                    let wanted = random.unit() < probability;
                    let strength = f32::from(level) / 9.0;
                    let sign = if random.coin() { 1.0 } else { -1.0 };
                    if wanted {
                        operation.apply(size, image, strength, sign, AUTO);
                    }
                }
            }
            Self::RandAugment { operations, magnitude, deviation } => {
                for _ in 0..operations {
                    let operation = RANDOM[random.below(RANDOM.len())];
                    let wanted = random.coin();
                    let strength = magnitude + deviation * random.normal();
                    let strength = strength.clamp(0.0, 10.0) / 10.0;
                    let sign = if random.coin() { 1.0 } else { -1.0 };
                    if wanted {
                        operation.apply(size, image, strength, sign, RAND);
                    }
                }
            }
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            "autoaugment" => Ok(Self::AutoAugment),
            "randaugment" => Ok(Self::RAND_AUGMENT),
            other => Err(format!("`{other}` is no policy; use none, autoaugment or randaugment")),
        }
    }
}

/// A change of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    AutoContrast,
    Brightness,
    Color,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Rotate,
    Sharpness,
    ShearX,
    ShearY,
    Solarize,
    SolarizeAdd,
    TranslateX,
    TranslateY,
}

use Operation::{
    AutoContrast, Brightness, Color, Contrast, Equalize, Invert, Posterize, Rotate, Sharpness,
    ShearX, ShearY, Solarize, SolarizeAdd, TranslateX, TranslateY,
};

/// What differs between the two families.
#[derive(Clone, Copy)]
struct Ranges {
    /// Largest translation as a share of the image.
    translation: f32,
    /// Bits that are kept at strength 0; four fewer at strength 1.
    bits: u32,
    /// What makes whole bits of a part of the four.
    whole: fn(f32) -> f32,
}

const AUTO: Ranges = Ranges { translation: 150.0 / 331.0, bits: 8, whole: f32::round };
const RAND: Ranges = Ranges { translation: 0.45, bits: 4, whole: f32::trunc };

impl Operation {
    /// Applies the change at a strength in 0..=1.
    fn apply(
        self,
        size @ [_, _, channels]: [usize; 3],
        image: &mut [u8],
        strength: f32,
        sign: f32,
        ranges: Ranges,
    ) {
        let signed = strength * sign;
        let factor = 1.0 + 0.9 * signed;
        match self {
            AutoContrast => tone::auto_contrast(channels, image),
            Brightness => tone::brightness(image, factor),
            Color => tone::saturation(channels, image, factor),
            Contrast => tone::contrast(channels, image, factor),
            Equalize => tone::equalize(channels, image),
            Invert => tone::invert(image),
            Posterize => {
                let bits = ranges.bits - (ranges.whole)(4.0 * strength) as u32;
                tone::posterize(image, bits);
            }
            Rotate => geometry::rotate(size, image, 30.0 * signed),
            Sharpness => tone::sharpness(size, image, factor),
            ShearX => geometry::shear_x(size, image, 0.3 * signed),
            ShearY => geometry::shear_y(size, image, 0.3 * signed),
            Solarize => tone::solarize(image, 256.0 * (1.0 - strength)),
            SolarizeAdd => tone::solarize_add(image, (110.0 * strength) as u8),
            TranslateX => geometry::translate_x(size, image, ranges.translation * signed),
            TranslateY => geometry::translate_y(size, image, ranges.translation * signed),
        }
    }
}

/// RandAugment's choice.
const RANDOM: [Operation; 15] = [
    AutoContrast,
    Brightness,
    Color,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Rotate,
    Sharpness,
    ShearX,
    ShearY,
    Solarize,
    SolarizeAdd,
    TranslateX,
    TranslateY,
];

/// AutoAugment's policy for CIFAR-10, table 7 of arXiv 1805.09501: pairs of a change, its
/// probability, and its strength in 0..=9.
#[rustfmt::skip]
const CIFAR: [[(Operation, f32, u8); 2]; 25] = [
    [(Invert, 0.1, 0), (Contrast, 0.2, 6)],
    [(Rotate, 0.7, 2), (TranslateX, 0.3, 9)],
    [(Sharpness, 0.8, 1), (Sharpness, 0.9, 3)],
    [(ShearY, 0.5, 8), (TranslateY, 0.7, 9)],
    [(AutoContrast, 0.5, 0), (Equalize, 0.9, 0)],
    [(ShearY, 0.2, 7), (Posterize, 0.3, 7)],
    [(Color, 0.4, 3), (Brightness, 0.6, 7)],
    [(Sharpness, 0.3, 9), (Brightness, 0.7, 9)],
    [(Equalize, 0.6, 0), (Equalize, 0.5, 0)],
    [(Contrast, 0.6, 7), (Sharpness, 0.6, 5)],
    [(Color, 0.7, 7), (TranslateX, 0.5, 8)],
    [(Equalize, 0.3, 0), (AutoContrast, 0.4, 0)],
    [(TranslateY, 0.4, 3), (Sharpness, 0.2, 6)],
    [(Brightness, 0.9, 6), (Color, 0.2, 8)],
    [(Solarize, 0.5, 2), (Invert, 0.0, 0)],
    [(Equalize, 0.2, 0), (AutoContrast, 0.6, 0)],
    [(Equalize, 0.2, 0), (Equalize, 0.6, 0)],
    [(Color, 0.9, 9), (Equalize, 0.6, 0)],
    [(AutoContrast, 0.8, 0), (Solarize, 0.2, 8)],
    [(Brightness, 0.1, 3), (Color, 0.7, 0)],
    [(Solarize, 0.4, 5), (AutoContrast, 0.9, 0)],
    [(TranslateY, 0.9, 9), (TranslateY, 0.7, 9)],
    [(AutoContrast, 0.9, 0), (Solarize, 0.8, 3)],
    [(Equalize, 0.8, 0), (Invert, 0.1, 0)],
    [(TranslateY, 0.7, 9), (AutoContrast, 0.9, 0)],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn image(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 37 % 251) as u8).collect()
    }

    fn varied(policy: Policy, size: [usize; 3], index: usize) -> Vec<u8> {
        let mut image = image(size.iter().product());
        policy.apply(size, &mut Random::nth(8, 1, Stream::Augment, index), &mut image);
        image
    }

    #[test]
    fn a_draw_repeats_and_draws_differ() {
        for policy in [Policy::AutoAugment, Policy::RAND_AUGMENT] {
            for size in [[8, 6, 1], [5, 9, 3], [1, 1, 1]] {
                for index in 0..500 {
                    assert_eq!(varied(policy, size, index), varied(policy, size, index));
                }
            }
            let images: std::collections::BTreeSet<_> =
                (0..500).map(|index| varied(policy, [8, 8, 3], index)).collect();
            assert!(images.len() > 30, "{policy:?}: {} different images", images.len());
        }
        assert_eq!(varied(Policy::None, [8, 8, 3], 0), image(192));
    }

    #[test]
    fn every_change_changes_a_colour_image_at_full_strength() {
        for operation in RANDOM {
            for (sign, ranges) in [(1.0, AUTO), (-1.0, RAND)] {
                let mut changed: Vec<u8> =
                    (0..3 * 32 * 32).map(|i| (40 + i * i % 150) as u8).collect();
                let before = changed.clone();
                operation.apply([32, 32, 3], &mut changed, 1.0, sign, ranges);
                assert_ne!(changed, before, "{operation:?}");
            }
        }
    }

    #[test]
    fn posterizing_keeps_as_many_bits_as_the_published_code() {
        // timm: `4 - int(level / 10 * 4)`; AutoAugment: `round(linspace(8, 4, 10))`.
        let kept = |strength, ranges| {
            let mut values = [255];
            Posterize.apply([1, 1, 1], &mut values, strength, 1.0, ranges);
            values[0].count_ones()
        };
        assert_eq!([0.2, 0.5, 0.7, 0.9, 0.99, 1.0].map(|s| kept(s, RAND)), [4, 2, 2, 1, 1, 0]);
        let levels = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|level| f32::from(level as u8) / 9.0);
        assert_eq!(levels.map(|s| kept(s, AUTO)), [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]);
    }

    #[test]
    fn names_are_read_and_mistakes_explained() {
        assert_eq!("autoaugment".parse(), Ok(Policy::AutoAugment));
        assert_eq!("randaugment".parse(), Ok(Policy::RAND_AUGMENT));
        assert!("auto".parse::<Policy>().unwrap_err().contains("use none, autoaugment"));
    }
}
