//! Which instruction set the kernels of hosts use.
//!
//! With the cargo feature `std` the processor is asked once; without it only what the build itself
//! requires is used (`-C target-cpu`, `-C target-feature`), as on WebAssembly in any case. NEON belongs
//! to every AArch64. The answers are the same bytes.

#[cfg(feature = "std")]
use core::sync::atomic::{AtomicU8, Ordering};

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Isa {
    /// None: portable Rust.
    Portable = 1,
    /// x86-64 with AVX2.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni = 3,
    /// AArch64.
    Neon = 4,
    /// AArch64 with the dot product instructions.
    NeonDot = 5,
    /// WebAssembly with 128-bit vectors.
    Simd128 = 6,
}

/// What [`Isa::current`] answers, 0 before the first question.
#[cfg(feature = "std")]
static CURRENT: AtomicU8 = AtomicU8::new(0);

/// Whether the build, or with `std` the processor, has an extension.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has {
    ($detected:ident: $($feature:tt),+) => {{
        let built = $(cfg!(target_feature = $feature))&&+;
        #[cfg(feature = "std")]
        let detected = $(std::arch::$detected!($feature))&&+;
        #[cfg(not(feature = "std"))]
        let detected = false;
        built || detected
    }};
}

impl Isa {
    /// All of them, the fastest last.
    pub const ALL: [Self; 6] =
        [Self::Portable, Self::Avx2, Self::Avx512Vnni, Self::Neon, Self::NeonDot, Self::Simd128];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dotprod",
            Self::Simd128 => "wasm-simd128",
        }
    }

    /// Whether this processor can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has!(is_x86_feature_detected: "avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => has!(
                is_x86_feature_detected: "avx2", "avx512f", "avx512bw", "avx512vl", "avx512vnni"
            ),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => has!(is_aarch64_feature_detected: "neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => has!(is_aarch64_feature_detected: "neon", "dotprod"),
            #[cfg(target_feature = "simd128")]
            Self::Simd128 => true,
            _ => false,
        }
    }

    /// The fastest that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        let available = Self::ALL.into_iter().rev().find(|isa| isa.is_available());
        available.unwrap_or(Self::Portable)
    }

    /// The one in use.
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        #[cfg(feature = "std")]
        {
            let current = CURRENT.load(Ordering::Relaxed);
            if let Some(isa) = Self::ALL.into_iter().find(|&isa| isa as u8 == current) {
                return isa;
            }
            let best = Self::best();
            best.select();
            best
        }
        #[cfg(not(feature = "std"))]
        Self::best()
    }

    /// Uses this one from now on, for tests and comparisons; one that is not available is ignored.
    #[cfg(feature = "std")]
    #[doc(hidden)]
    pub fn select(self) {
        if self.is_available() {
            CURRENT.store(self as u8, Ordering::Relaxed);
        }
    }
}
