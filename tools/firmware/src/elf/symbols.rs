//! Whose code is where, by the names of a program's functions.

use std::ops::Range;

use object::read::elf::{ElfFile32, ElfSection32};
use object::{Object, ObjectSection, ObjectSymbol};
use rustc_demangle::demangle;

/// Functions of a section with their places. One without a size, as assembly may have them, ends
/// where the next begins.
pub(super) fn extents<'f>(
    elf: &ElfFile32<'f>,
    section: &ElfSection32<'f, '_>,
) -> Vec<(&'f str, Range<u64>)> {
    let end = section.address() + section.size();
    let place = section.address()..end;
    let mut symbols: Vec<(&str, u64, u64)> = elf
        .symbols()
        .filter_map(|symbol| {
            // Bit 0 of a function's address says Thumb.
            let name = symbol.name().ok().filter(|name| !name.is_empty() && !name.starts_with('$'));
            Some((name?, symbol.address() & !1, symbol.size()))
        })
        .filter(|(_, start, _)| place.contains(start))
        .collect();
    symbols.sort_unstable_by_key(|&(_, start, _)| start);
    let next = |start| {
        let after = symbols.partition_point(|&(_, other, _)| other <= start);
        symbols.get(after).map_or(end, |&(_, other, _)| other)
    };
    let extent = |&(name, start, size): &(&'f str, u64, u64)| {
        let stop = if size == 0 { next(start) } else { start + size };
        (name, start..stop.min(end))
    };
    symbols.iter().map(extent).collect()
}

/// Bytes of the functions of some names. Several names of one place count once.
pub(super) fn bytes(extents: &[(&str, Range<u64>)], wanted: fn(&str) -> bool) -> u64 {
    let mut covered = 0;
    let mut sum = 0;
    for (_, range) in extents.iter().filter(|(name, _)| wanted(name)) {
        sum += range.end.saturating_sub(range.start.max(covered));
        covered = covered.max(range.end);
    }
    sum
}

/// Whether a function is the engine's: one of the crate `picovit` or one of its kernels in assembly, but
/// for the pre-processing.
pub(super) fn is_engine(name: &str) -> bool {
    is_of_crate(name) && !is_image(name)
}

/// Whether a function is the pre-processing's.
pub(super) fn is_image(name: &str) -> bool {
    is_of_crate(name) && path(&format!("{:#}", demangle(name))).starts_with("picovit::image::")
}

fn is_of_crate(name: &str) -> bool {
    // Assembly has names of its own.
    let assembly = ["picovit_cortex_m_", "picovit_fpu_", "picovit_helium_"];
    if assembly.iter().any(|start| name.starts_with(start)) {
        return true;
    }
    let name = format!("{:#}", demangle(name));
    // `<picovit::Model as picovit_app::Labels>::label` is in the crate of the trait.
    let foreign = name.starts_with('<') && name.contains(" as picovit_");
    path(&name).starts_with("picovit::") && !foreign
}

/// Whether a function is one that the compiler calls of its own accord.
pub(super) fn is_helper(name: &str) -> bool {
    const MEMORY: [&str; 4] = ["memcpy", "memmove", "memset", "memcmp"];
    name.starts_with("__aeabi_")
        || MEMORY.contains(&name)
        || path(&format!("{:#}", demangle(name))).starts_with("compiler_builtins::")
}

/// A demangled name without what may stand before the crate.
fn path(name: &str) -> &str {
    name.trim_start_matches(['<', '&', '*']).trim_start_matches("mut ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_from_crates_of_similar_names() {
        for engine in [
            "_ZN7picovit3ops2Op3run17h92f9b0bdd2110d46E",
            "_ZN63_$LT$picovit..error..Error$u20$as$u20$defmt..traits..Format$GT$12_format_data17h0123456789abcdefE",
            "_RNvNtCs1234_7picovit3ops3run",
            "picovit_cortex_m_run",
            "picovit_fpu_dot_f16",
            "picovit_helium_signed",
        ] {
            assert!(is_engine(engine), "{engine}");
        }
        for other in [
            "_ZN11picovit_app7overlay4fill17hded1f267bbaf7bdcE",
            "_ZN12picovit_mps218__cortex_m_rt_main17h29067583a8f84e5cE",
            "_ZN70_$LT$picovit..model..Model$u20$as$u20$picovit_app..overlay..Labels$GT$5label17h74474359f516c240E",
            "_ZN4core3fmt5write17h0123456789abcdefE",
            "memcpy",
            "main",
        ] {
            assert!(!is_engine(other), "{other}");
        }
    }

    #[test]
    fn pre_processing_is_told_from_the_rest_of_the_engine() {
        for image in [
            "_ZN7picovit5image3fit17h92f9b0bdd2110d46E",
            "_ZN68_$LT$picovit..image..ImageError$u20$as$u20$defmt..traits..Format$GT$12_format_data17h0123456789abcdefE",
        ] {
            assert!(is_image(image) && !is_engine(image), "{image}");
        }
        assert!(!is_image("_ZN7picovit3ops2Op3run17h92f9b0bdd2110d46E"));
        assert!(!is_image("picovit_cortex_m_run"));
    }

    #[test]
    fn helpers_are_the_compilers() {
        let division =
            "_ZN17compiler_builtins3int19specialized_div_rem11u64_div_rem17h0123456789abcdefE";
        assert!(["memcpy", "__aeabi_memcpy4", division].into_iter().all(is_helper));
        assert!(!["main", "_ZN7picovit3ops2Op3run17h92f9b0bdd2110d46E"].into_iter().any(is_helper));
    }

    #[test]
    fn places_with_several_names_count_once() {
        let extents = [("a", 0..10), ("a", 0..10), ("b", 4..8), ("a", 6..12), ("a", 20..24)];
        assert_eq!(bytes(&extents, |name| name == "a"), 16);
        assert_eq!(bytes(&extents, |name| name == "b"), 4);
        assert_eq!(bytes(&extents, |_| false), 0);
    }
}
