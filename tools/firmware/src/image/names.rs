//! Functions by their names, and by what they are for.

use rustc_demangle::demangle;

/// Crates and modules that only panics lead to, and the handlers that all of them end in: Rust's, and
/// that of checks that `defmt` has logged.
const PANICS: [&str; 6] = [
    "core::panicking::",
    "std::panicking::",
    "rust_begin_unwind",
    "__rustc::rust_begin_unwind",
    "_defmt_panic",
    "__defmt_default_panic",
];
/// Last parts of the names of functions in the core library that do nothing but panic: they are kept out
/// of line, so that checks are small.
const FAILURES: [&str; 5] = ["_fail", "_fail_rt", "unwrap_failed", "expect_failed", "panic_fmt"];
/// Names that all heaps have.
const HEAPS: [&str; 5] = ["malloc", "calloc", "realloc", "free", "_sbrk"];
/// What they begin with.
const HEAP_STARTS: [&str; 5] =
    ["__rust_alloc", "__rust_dealloc", "__rust_realloc", "__rg_", "__rdl_"];

/// A symbol's name as people write it, the same whichever way the compiler mangles: methods of a type are
/// `path::Type::method`, and `<path::Type>::method` only where a trait has them.
pub(super) fn readable(symbol: &str) -> String {
    let name = format!("{:#}", demangle(symbol));
    let Some(rest) = name.strip_prefix('<') else { return name };
    let mut open = 1;
    let close = rest.char_indices().find(|&(place, character)| {
        open += match character {
            '<' => 1,
            // The arrow of a function's type is none.
            '>' if !rest[..place].ends_with('-') => -1,
            _ => 0,
        };
        open == 0
    });
    let Some((close, _)) = close else { return name };
    let (of, method) = (&rest[..close], &rest[close + 1..]);
    // Of references, slices, numbers and the like the brackets are part of the name.
    let named = of.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let path = named && of.contains("::");
    if path && !of.contains(" as ") && method.starts_with("::") {
        format!("{of}{method}")
    } else {
        name
    }
}

/// Whether a name is that of a function, or of one of its kinds where it is generic.
pub(super) fn is_of(name: &str, function: &str) -> bool {
    name.strip_prefix(function).is_some_and(|rest| rest.is_empty() || rest.starts_with("::<"))
}

/// Whether a function is part of a panic: all of them end in the handler, so that a program without any
/// of these cannot panic.
pub(super) fn is_panic(name: &str) -> bool {
    let core = name.starts_with("core::") || name.starts_with("alloc::");
    PANICS.iter().any(|start| name.starts_with(start))
        || (core && FAILURES.iter().any(|end| name.ends_with(end)))
        || (core && name.rsplit("::").next().is_some_and(|last| last.starts_with("panic_")))
}

/// Whether a function is part of a heap.
pub(super) fn is_heap(name: &str) -> bool {
    let name = name.strip_prefix("__rustc::").unwrap_or(name);
    HEAPS.contains(&name)
        || HEAP_STARTS.iter().any(|start| name.starts_with(start))
        || name.starts_with("alloc::")
        || name.starts_with("<alloc::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_depend_on_the_mangling() {
        let method = "defmt_rtt::channel::Channel::write_all";
        for symbol in [
            "_ZN9defmt_rtt7channel7Channel9write_all17h0123456789abcdefE",
            "_RNvMNtCs1_9defmt_rtt7channelNtB2_7Channel9write_all",
        ] {
            assert_eq!(readable(symbol), method);
        }
        let traits = "_ZN41_$LT$u8$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE";
        assert_eq!(readable(traits), "<u8 as core::fmt::Display>::fmt");
        assert_eq!(readable("_RNvMNtCs1_4core3numy8div_ceil"), "<u64>::div_ceil");
        assert_eq!(readable("picovit_cortex_m_run"), "picovit_cortex_m_run");
    }

    #[test]
    fn a_generic_function_is_found_whatever_it_is_for() {
        assert!(is_of("a::b", "a::b") && is_of("a::b::<u8>", "a::b"));
        assert!(!is_of("a::bc", "a::b") && !is_of("a::b::{closure#0}", "a::b"));
    }

    #[test]
    fn panics_and_heaps_are_known_by_name() {
        for name in [
            "core::panicking::panic_fmt",
            "core::panicking::panic_const::panic_const_div_by_zero",
            "core::option::unwrap_failed",
            "core::option::expect_failed",
            "core::result::unwrap_failed",
            "core::str::slice_error_fail",
            "core::str::slice_error_fail_rt",
            "core::slice::index::slice_index_fail",
            "core::slice::copy_from_slice_impl::len_mismatch_fail",
            "core::cell::panic_already_borrowed",
            "__rustc::rust_begin_unwind",
            "rust_begin_unwind",
            "_defmt_panic",
        ] {
            assert!(is_panic(name), "{name}");
        }
        for name in
            ["core::fmt::write", "picovit::model::Model::parse", "main", "my::self_test_fail"]
        {
            assert!(!is_panic(name), "{name}");
        }
        for name in ["malloc", "__rust_alloc", "__rustc::__rust_alloc_zeroed", "alloc::vec::grow"] {
            assert!(is_heap(name), "{name}");
        }
        for name in ["picovit::arena::new", "main", "embassy_executor::arch::freeze"] {
            assert!(!is_heap(name), "{name}");
        }
    }
}
