//! Which functions a call through a register may reach.
//!
//! Any function that code which can be reached holds a pointer to, unless the call is one of those below:
//! what they can reach follows from the types of their pointers, which machine code does not have.
//! Without them, formatting would seem to be able to call itself.

/// What begins the names of the engine's kernels in assembly. They jump to parts of each other, which
/// have no frame, through addresses in the frame that they share.
const ASSEMBLY: [&str; 3] = ["picovit_cortex_m_", "picovit_fpu_", "picovit_helium_"];

/// What a call through a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A part of a kernel.
    Assembly,
    /// A value and the function that formats it.
    Argument,
    /// A value that says itself how it is formatted.
    Value,
    /// What a formatter writes to: formatters hold nothing else.
    Writer,
    /// A function of the engine's: it holds no others.
    Engine,
    /// Waking a task.
    Waker,
    /// Going on with a task.
    Task,
    /// How the log is written: waiting for the host, or not.
    Log,
    /// Nobody knows.
    Other,
}

/// What a call is for in code of `function`, merged into it from `callers`, the innermost first.
fn kind(function: &str, callers: &[String]) -> Kind {
    let caller = callers.first().map_or(function, String::as_str);
    match caller {
        _ if is_assembly(function) => Kind::Assembly,
        "core::fmt::rt::Argument::fmt" => Kind::Argument,
        _ if caller.starts_with("<&dyn core::fmt::") => Kind::Value,
        _ if is_formatting(caller) || caller.contains(" as core::fmt::") => Kind::Writer,
        _ if is_engine(caller) => Kind::Engine,
        // Its own methods, and those of traits: a waker that is dropped.
        _ if caller.trim_start_matches('<').starts_with("core::task::wake::Waker") => Kind::Waker,
        _ if caller.starts_with("embassy_executor::raw::SyncExecutor::poll") => Kind::Task,
        "defmt_rtt::channel::Channel::write_all" => Kind::Log,
        _ => Kind::Other,
    }
}

/// A function that something holds a pointer to.
pub(super) struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether the pointer is that of a method in a table of methods.
    pub method: bool,
    /// Whether it has a frame of its own.
    pub frame: bool,
}

/// Whether a call in such code may reach this function.
pub(super) fn may_call(function: &str, callers: &[String], target: &Candidate<'_>) -> bool {
    let &Candidate { name, method, frame } = target;
    match kind(function, callers) {
        Kind::Assembly => !frame && is_assembly(name),
        Kind::Argument => !method && formats(name),
        Kind::Value => method && formats(name),
        Kind::Writer => method && writes(name),
        Kind::Engine => is_engine(name),
        Kind::Waker => name.starts_with("embassy_executor::raw::waker::"),
        Kind::Task => name.starts_with("embassy_executor::raw::TaskStorage"),
        Kind::Log => name.starts_with("defmt_rtt::"),
        Kind::Other => true,
    }
}

/// Whether a call in such code is that of a formatter that writes.
pub(super) fn write(function: &str, callers: &[String]) -> bool {
    kind(function, callers) == Kind::Writer
}

/// Whether a function is the engine's.
fn is_engine(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&']).trim_start_matches("mut ");
    name.starts_with("picovit::") || is_assembly(name)
}

/// Whether a function is one of the engine's kernels in assembly, or a part of one.
pub(super) fn is_assembly(name: &str) -> bool {
    ASSEMBLY.iter().any(|start| name.starts_with(start))
}

/// Whether a function is the core library's for formatting.
pub(super) fn is_formatting(name: &str) -> bool {
    name.trim_start_matches('<').starts_with("core::fmt::")
}

/// Whether a function formats a value. It needs a formatter, and only the core library makes them.
pub(super) fn formats(name: &str) -> bool {
    name.contains(" as core::fmt::") && name.ends_with(">::fmt")
}

/// Whether a function is one that formatters write with. They do not use `write_fmt` of what they write
/// to.
pub(super) fn writes(name: &str) -> bool {
    let writer = name.contains(" as core::fmt::Write>::") || name.starts_with("core::fmt::Write::");
    writer && (name.ends_with("::write_str") || name.ends_with("::write_char"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(caller: &str, name: &str, method: bool) -> bool {
        may_call("f", &[caller.to_owned()], &Candidate { name, method, frame: true })
    }

    #[test]
    fn calls_of_a_kind_reach_their_kind_only() {
        let display = "<u64 as core::fmt::Display>::fmt";
        let write = "<a::B as core::fmt::Write>::write_str";
        let argument = "core::fmt::rt::Argument::fmt";
        assert!(allowed(argument, display, false) && !allowed(argument, display, true));
        assert!(!allowed(argument, write, true));
        let pad = "core::fmt::Formatter::pad";
        assert!(allowed(pad, write, true) && !allowed(pad, display, true));
        assert!(!allowed(pad, "core::fmt::Write::write_fmt", true));
        assert!(allowed("<&dyn core::fmt::Debug as core::fmt::Debug>::fmt", display, true));
        let engine = "picovit::kernels::matmul::matmul";
        assert!(allowed(engine, "picovit_cortex_m_int8", false) && !allowed(engine, write, true));
        let waker = "core::task::wake::Waker::wake_by_ref";
        assert!(allowed(waker, "embassy_executor::raw::waker::wake", false));
        assert!(!allowed(waker, "embassy_executor::raw::TaskStorage<F>::poll", false));
        // What nobody knows may be anything.
        assert!(allowed("app::run", display, false) && allowed("app::run", write, true));
    }

    #[test]
    fn parts_of_kernels_are_entered_from_kernels() {
        let part = Candidate { name: "picovit_cortex_m_rows", method: false, frame: false };
        assert!(may_call("picovit_cortex_m_run", &[], &part));
        let whole = Candidate { frame: true, ..part };
        assert!(!may_call("picovit_cortex_m_run", &[], &whole));
    }
}
