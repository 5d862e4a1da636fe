//! Functions by what they are for.

/// Crates and modules that only panics lead to, and the handler that all of them end in.
const PANICS: [&str; 4] =
    ["core::panicking::", "std::panicking::", "rust_begin_unwind", "__rustc::rust_begin_unwind"];
/// Last parts of the names of functions in the core library that do nothing but panic: they are kept out
/// of line, so that checks are small.
const FAILURES: [&str; 5] = ["_fail", "_fail_rt", "unwrap_failed", "expect_failed", "panic_fmt"];
/// Names that all heaps have.
const HEAPS: [&str; 5] = ["malloc", "calloc", "realloc", "free", "_sbrk"];
/// What they begin with.
const HEAP_STARTS: [&str; 5] =
    ["__rust_alloc", "__rust_dealloc", "__rust_realloc", "__rg_", "__rdl_"];

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
